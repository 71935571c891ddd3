"""What data looks like: messages, settings, identifiers and the ClickHouse schema."""
