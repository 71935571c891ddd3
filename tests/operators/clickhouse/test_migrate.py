from pathlib import Path

import pytest

from operators.clickhouse import (
    ClickHouseAwayError,
    ClickHouseError,
    SchemaError,
    applied_version,
    migrate,
    open_client,
)
from operators.clickhouse.rows import COLUMNS
from schemas.ddl import latest_version, migrations, render, retention_names, values_of
from tests.support.clickhouse import retention


def test_tables_have_the_columns_that_rows_are_written_with(dsn: str, clickhouse_database: str) -> None:
    client = open_client(dsn)
    assert migrate(client, clickhouse_database, retention()) == list(range(1, latest_version() + 1))
    for table, columns in COLUMNS.items():
        rows = client.query(
            "SELECT name FROM system.columns WHERE database = {d:String} AND table = {t:String} AND default_kind = ''",
            parameters={"d": clickhouse_database, "t": table},
        ).result_rows
        assert sorted(columns) == sorted(row[0] for row in rows), table
    client.close()


def test_every_table_is_safe_against_a_power_cut_and_has_an_arrival_time(dsn: str, clickhouse_database: str) -> None:
    client = open_client(dsn)
    migrate(client, clickhouse_database, retention())
    for table in COLUMNS:
        (create,) = client.query(f"SHOW CREATE TABLE {clickhouse_database}.{table}").result_rows[0]
        assert "fsync_after_insert = 1, fsync_part_directory = 1" in create, table
        assert "`published_at`" in create, table
        assert "ReplacingMergeTree" in create, table
    client.close()


def test_applying_again_changes_nothing(dsn: str, clickhouse_database: str) -> None:
    client = open_client(dsn)
    migrate(client, clickhouse_database, retention())
    assert migrate(client, clickhouse_database, retention()) == []
    assert applied_version(client, clickhouse_database) == latest_version()
    assert client.command(f"SELECT count() FROM {clickhouse_database}.schema_version") == latest_version()
    client.close()


def test_an_interrupted_run_is_finished_by_the_next(chdb_dsn: str, clickhouse_database: str) -> None:
    client = open_client(chdb_dsn)
    values = values_of(clickhouse_database, retention())
    client.command(f"CREATE DATABASE {clickhouse_database}")
    client.command(render(migrations()[0].statements[0], values))
    client.command(render(migrations()[1].statements[0], values))
    assert migrate(client, clickhouse_database, retention()) == list(range(1, latest_version() + 1))
    client.close()


def test_a_newer_database_is_refused(dsn: str, clickhouse_database: str) -> None:
    client = open_client(dsn)
    migrate(client, clickhouse_database, retention())
    client.command(f"INSERT INTO {clickhouse_database}.schema_version VALUES (999, 'of_tomorrow', now64(6))")
    with pytest.raises(SchemaError, match=r"has schema version 999, this program knows up to .* update Watchkeeper"):
        migrate(client, clickhouse_database, retention())
    client.close()


def test_changed_retention_alters_the_tables(dsn: str, clickhouse_database: str) -> None:
    client = open_client(dsn)
    migrate(client, clickhouse_database, retention(30))
    migrate(client, clickhouse_database, {**retention(30), "logs_days": 3})

    def ttl(table: str) -> str:
        (create,) = client.query(f"SHOW CREATE TABLE {clickhouse_database}.{table}").result_rows[0]
        return str(create).split("TTL ")[1].split("\n")[0]

    assert ttl("logs") == "toDateTime(observed_at) + toIntervalDay(3)"
    assert ttl("samples") == "toDateTime(observed_at) + toIntervalDay(30)"
    client.close()


@pytest.mark.parametrize("days", [0, 10_001, 1.5, True, None, "7; DROP TABLE logs"])
def test_retention_that_cannot_be_is_refused_before_anything_is_done(
    chdb_dsn: str, clickhouse_database: str, days: int
) -> None:
    client = open_client(chdb_dsn)
    with pytest.raises(SchemaError, match=r"retention\.logs_days is .*expected whole days from 1 to 10000"):
        migrate(client, clickhouse_database, {**retention(), "logs_days": days})
    assert (
        client.command(
            "SELECT count() FROM system.databases WHERE name = {n:String}", parameters={"n": clickhouse_database}
        )
        == 0
    )
    client.close()


def test_a_database_name_that_is_no_identifier_is_refused(chdb_dsn: str) -> None:
    client = open_client(chdb_dsn)
    with pytest.raises(SchemaError, match="database is 'a; DROP'"):
        migrate(client, "a; DROP", retention())
    client.close()


def test_retention_names_are_those_of_the_tables() -> None:
    kept_for_ever = {"devices"}
    assert retention_names() == {f"{table}_days" for table in COLUMNS if table not in kept_for_ever}


def test_numbers_of_files_have_no_gap(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1;\n")
    (tmp_path / "0003_b.sql").write_text("SELECT 1;\n")
    with pytest.raises(ValueError, match="without a gap"):
        migrations(tmp_path)
    (tmp_path / "0003_b.sql").rename(tmp_path / "two.sql")
    with pytest.raises(ValueError, match="expected a name such as"):
        migrations(tmp_path)


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("clickhouse://h/x", "scheme 'clickhouse'"),
        ("chdb://relative/path", "names no absolute folder"),
        ("chdb:///", "names no absolute folder"),
        ("http://:8123/x", "expected for example"),
        ("http://u:secret@h:port/x", "cannot be read"),
        (
            "http://u:secret@127.0.0.1:1/other",
            "names database 'other' but WATCHKEEPER_CLICKHOUSE_DATABASE is 'watchkeeper'",
        ),
    ],
)
def test_a_dsn_that_cannot_be_right_is_refused_and_its_password_not_told(dsn: str, says: str) -> None:
    with pytest.raises(ClickHouseError, match=says) as caught:
        open_client(dsn, "watchkeeper")
    assert not isinstance(caught.value, ClickHouseAwayError)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_away_is_named_with_the_remedy_and_without_the_password() -> None:
    with pytest.raises(
        ClickHouseAwayError, match=r"http://127.0.0.1:1 cannot be reached .*start it, or correct"
    ) as caught:
        open_client("http://u:secret@127.0.0.1:1/watchkeeper", "watchkeeper")
    assert "secret" not in str(caught.value)


def test_a_database_that_is_not_there_yet_says_who_makes_it(dsn: str) -> None:
    with pytest.raises(ClickHouseAwayError, match=r"has no database nowhere .*start the archive flow"):
        open_client(dsn, "nowhere")


def test_a_database_of_before_the_arrival_in_the_key_is_upgraded_in_place(dsn: str, clickhouse_database: str) -> None:
    client = open_client(dsn)
    values = values_of(clickhouse_database, retention())
    client.command(f"CREATE DATABASE {clickhouse_database}")
    before = [each for each in migrations() if each.version < 9]
    for migration in before:
        for statement in migration.statements:
            client.command(render(statement, values))
        client.command(
            f"INSERT INTO {clickhouse_database}.schema_version SELECT {migration.version}, '{migration.name}', now64(6)"
        )

    def insert(msg: str, sequence: int, **more: int) -> None:
        names = "tracking_id, ship_id, device_id, service, ts, observed_at, stream_seq, msg" + "".join(
            f", {name}" for name in more
        )
        tail = "".join(f", {value}" for value in more.values())
        client.command(
            f"INSERT INTO {clickhouse_database}.logs ({names}) SELECT "
            f"'id', 'aurora', 'gw-1', 'sshd', toDateTime64('2026-03-01 00:00:00', 6), "
            f"toDateTime64('2026-03-01 00:00:00', 6), {sequence}, '{msg}'{tail}"
        )

    insert("of before", 1)
    assert migrate(client, clickhouse_database, retention()) == list(range(9, latest_version() + 1))
    insert("sent again", 2, arrival=2 << 20)
    client.command(f"OPTIMIZE TABLE {clickhouse_database}.logs FINAL")
    rows = client.query(f"SELECT msg FROM {clickhouse_database}.logs ORDER BY stream_seq").result_rows
    assert [row[0] for row in rows] == ["of before", "sent again"]
    client.close()
