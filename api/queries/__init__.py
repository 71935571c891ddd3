"""The SQL: constant texts, and every value bound as a parameter."""
