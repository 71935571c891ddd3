"""Brings a database to the schema of this code, and its retention to what policy says."""

import re
from collections.abc import Mapping

import structlog
from clickhouse_connect.driver.client import Client

from operators.clickhouse.errors import SchemaError
from schemas.ddl import Migration, latest_version, migrations, render, table_ttls, values_of

_TTL = re.compile(r"\bTTL (.+?)(?= SETTINGS |$)")

log = structlog.get_logger()


def migrate(client: Client, database: str, retention: Mapping[str, int]) -> list[int]:
    """Create or update the database; return the versions applied now.

    retention: days by placeholder (logs_days, samples_days, …). Applying again changes nothing; an
    interrupted run is finished by the next. A table whose TTL differs is altered.

    Raises:
        SchemaError: for a database newer than this code, or retention that cannot be.
        clickhouse_connect errors: when the server refuses or is away.
    """
    try:
        values = values_of(database, retention)
    except ValueError as error:
        raise SchemaError(str(error)) from error
    client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    first, *later = migrations()
    _run(client, first, values)
    have = applied_version(client, database)
    if have > latest_version():
        raise SchemaError(
            f"database {database} has schema version {have}, this program knows up to {latest_version()}: "
            "update Watchkeeper, or name another database in WATCHKEEPER_CLICKHOUSE_DATABASE"
        )
    done = [migration for migration in (first, *later) if migration.version > have]
    for migration in done:
        if migration is not first:
            _run(client, migration, values)
        _record(client, database, migration)
    _apply_retention(client, database, table_ttls(values))
    return [migration.version for migration in done]


def applied_version(client: Client, database: str) -> int:
    """The highest version applied to a database that has a schema_version table; 0 for none."""
    rows = client.query(f"SELECT max(version) FROM {database}.schema_version").result_rows  # noqa: S608 - checked name
    return int(rows[0][0])


def _run(client: Client, migration: Migration, values: Mapping[str, str]) -> None:
    for statement in migration.statements:
        client.command(render(statement, values))


def _record(client: Client, database: str, migration: Migration) -> None:
    client.command(f"INSERT INTO {database}.schema_version SELECT {migration.version}, '{migration.name}', now64(6)")
    log.info("clickhouse_schema", database=database, version=migration.version, name=migration.name)


def _apply_retention(client: Client, database: str, wanted: Mapping[str, str]) -> None:
    rows = client.query(
        "SELECT name, engine_full FROM system.tables WHERE database = {database:String}",
        parameters={"database": database},
    ).result_rows
    engines = {str(name): str(engine) for name, engine in rows}
    for table, ttl in wanted.items():
        found = _TTL.search(engines.get(table, ""))
        if table in engines and (found is None or found[1] != ttl):
            client.command(f"ALTER TABLE {database}.{table} MODIFY TTL {ttl}")
            log.info("clickhouse_retention", table=table, ttl=ttl, before=None if found is None else found[1])
