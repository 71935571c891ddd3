from tests.support.clickhouse import chdb_dsn, clickhouse_database, connect, dsn

__all__ = ["chdb_dsn", "clickhouse_database", "connect", "dsn"]
