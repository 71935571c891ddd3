"""The five questions over real chDB: what they answer, as of when, and that they read by primary key."""

from collections.abc import Iterable
from contextlib import closing
from typing import Any

import pytest

from operators.clickhouse import Reader, migrate, open_client
from operators.clickhouse.rows import Arrival, device_row, incident_row, log_row, sample_row
from operators.enrich import ContextSource
from operators.enrich.asks import Ask, Asker, family, parameters
from operators.enrich.operator import own_incident_type
from operators.enrich.questions import QUESTIONS
from policy import load_policy
from policy.enrich import CachePolicy, EnrichPolicy
from schemas.anomaly import AnomalyDetected, ContextData
from schemas.base import Severity
from schemas.ddl import migrations, render, values_of
from schemas.incident import TimelineEntry
from schemas.telemetry import series_id
from tests.operators.enrich.conftest import Store, detected
from tests.support import published
from tests.support.clickhouse import http_server, retention
from tests.support.make import anomaly, at, line, sample

HOUR, DAY = 3600.0, 86_400.0
POLICY = load_policy(None).default.enrich


def context_of(reader: Reader, *anomalies: AnomalyDetected, policy: EnrichPolicy = POLICY) -> list[ContextData]:
    source = ContextSource(reader, policy)
    found = source.fetch([Asker(each, own_incident_type) for each in anomalies])
    assert [each.missing for each in found] == [None] * len(anomalies)
    return [each.context for each in found]


def test_a_ship_that_has_no_past_has_nothing_similar(reader: Reader) -> None:
    (context,) = context_of(reader, anomaly(10 * DAY))
    assert context == ContextData(similar_1h=0, similar_24h=0, similar_7d=0)


def test_similar_anomalies_are_counted_before_the_anomaly_itself_by_hour_day_and_week(
    reader: Reader, store: Store
) -> None:
    now = 10 * DAY
    past = [now - 1, now - HOUR + 1, now - HOUR - 1, now - DAY + 1, now - DAY - 1, now - 7 * DAY + 1, now - 7 * DAY - 1]
    store(detected(*(anomaly(seconds, device_id=f"srv-{place}") for place, seconds in enumerate(past))))
    store(
        detected(
            anomaly(now),
            anomaly(now + 1),
            anomaly(now - 2, state="cleared"),
            anomaly(now - 3, rule="cpu_very_high"),
            anomaly(now - 4, ship_id="borealis"),
            anomaly(now - 5, metric_name="mem_pct"),
            anomaly(now - 6, anomaly_type="metric_outlier"),
        )
    )
    (context,) = context_of(reader, anomaly(now))
    assert (context.similar_1h, context.similar_24h, context.similar_7d) == (2, 4, 6)


def test_rows_that_the_archive_wrote_twice_count_once(reader: Reader, store: Store) -> None:
    for _ in range(2):
        store(detected(*(anomaly(DAY - n) for n in range(1, 6))))
    assert context_of(reader, anomaly(DAY))[0].similar_1h == 5


def test_each_anomaly_of_a_batch_is_answered_as_of_its_own_time(reader: Reader, store: Store) -> None:
    store(detected(*(anomaly(n * HOUR) for n in range(48))))
    asked = [anomaly(n * HOUR + 1, device_id=f"srv-{n}") for n in range(0, 48, 5)]
    found = context_of(reader, *asked)
    assert [context.similar_7d for context in found] == list(range(1, 49, 5))
    assert [context.similar_24h for context in found] == [min(n, 24) for n in range(1, 49, 5)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rule": None},
        {"anomaly_type": "log_pattern", "metric_name": None, "rule": "failed_password", "series": "a/gw/sshd/log:x"},
        {"anomaly_type": "log_template", "metric_name": None, "rule": None, "series": "aurora/log:template:abc|'"},
        {"anomaly_type": "log_rate", "metric_name": None, "rule": None, "series": "aurora/gw/sshd/log:storm"},
        {"anomaly_type": "stale", "rule": None, "metric_name": "it's % ü"},
    ],
)
def test_sql_and_python_mean_the_same_family(reader: Reader, store: Store, fields: dict[str, Any]) -> None:
    store(detected(anomaly(5, **fields)))
    assert reader.query("SELECT family FROM similar") == [{"family": family(anomaly(5, **fields))}]
    assert context_of(reader, anomaly(6, **fields))[0].similar_1h == 1


def test_quantiles_are_those_of_the_series_within_seven_days(reader: Reader, store: Store) -> None:
    now = 8 * DAY
    values = [(now - n * 120, float(n % 100)) for n in range(1, 5000)]
    old = [(now - 7 * DAY - HOUR - n, 1e6) for n in range(1000)]
    other = [(now - n, 500.0) for n in range(1, 1000)]
    store(sample_row(sample(seconds, value), (1, 0)) for seconds, value in values + old)
    store(sample_row(sample(seconds, value, device_id="srv-2"), (2, 0)) for seconds, value in other)
    mine = anomaly(now, series=series_id(sample(0, 0)))
    theirs = anomaly(now, device_id="srv-2", series=series_id(sample(0, 0, device_id="srv-2")))
    first, second = context_of(reader, mine, theirs)
    assert first.metric_p50 == pytest.approx(49.5, rel=0.03)
    assert first.metric_p95 == pytest.approx(94.5, rel=0.03)
    assert second.metric_p50 == pytest.approx(500, rel=0.011)


def test_quantiles_in_a_batch_of_two_weeks_are_those_of_each_ones_own_week(reader: Reader, store: Store) -> None:
    early, late = 8 * DAY, 16 * DAY
    store(sample_row(sample(early - n * 600, 10.0), (1, n)) for n in range(1, 500))
    store(sample_row(sample(late - n * 600, 90.0, device_id="srv-2"), (2, n)) for n in range(1, 500))
    store(sample_row(sample(late - n * 600, 90.0), (3, n)) for n in range(1, 500))
    first = anomaly(early, series=series_id(sample(0, 0)))
    second = anomaly(late, device_id="srv-2", series=series_id(sample(0, 0, device_id="srv-2")))
    third = anomaly(late, series=series_id(sample(0, 0)))
    found = [context.metric_p50 for context in context_of(reader, first, second, third)]
    assert found == [pytest.approx(10, rel=0.011), pytest.approx(90, rel=0.011), pytest.approx(90, rel=0.011)]


@pytest.mark.parametrize("value", [0.0, -0.0, -273.15, 5e-324, 1e-12, 3.0, 1e9, -1e300, 1.7976931348623157e308])
def test_quantiles_are_within_a_hundredth_of_the_value_whatever_its_size(
    reader: Reader, store: Store, value: float
) -> None:
    store(sample_row(sample(n, value), (n, 0)) for n in range(50))
    (context,) = context_of(reader, anomaly(60, series=series_id(sample(0, 0))))
    expected = pytest.approx(value, rel=0.011, abs=1e-299) if abs(value) < 1e308 else pytest.approx(1e308, rel=0.011)
    assert context.metric_p50 == expected
    assert context.metric_p95 == expected


def test_one_question_tells_the_quantiles_of_every_series_of_a_device(reader: Reader, store: Store) -> None:
    names = ("cpu_pct", "load", "mem_pct")
    store(sample_row(sample(n, 10.0 * i, metric_name=names[i]), (n, i)) for n in range(50) for i in range(3))
    source = ContextSource(reader, POLICY)
    asked = [
        Asker(
            anomaly(60, rule=None, metric_name=name, series=series_id(sample(0, 0, metric_name=name))),
            own_incident_type,
        )
        for name in (*names, "never_seen")
    ]
    source.fetch(asked[:1])
    found = [source.known(each, "not asked").context.metric_p50 for each in asked]
    assert found == [0.0, pytest.approx(10, rel=0.011), pytest.approx(20, rel=0.011), None]


def test_what_is_about_no_metric_has_no_quantiles(reader: Reader) -> None:
    (context,) = context_of(reader, anomaly(9, metric_name=None, anomaly_type="log_rate", series="x"))
    assert (context.metric_p50, context.metric_p95) == (None, None)


def test_the_error_rank_is_the_origins_among_those_of_its_day(reader: Reader, store: Store) -> None:
    now = 3 * DAY + 12 * HOUR

    def lines(count: int, first: float, **fields: Any) -> Iterable[Any]:
        return (log_row(line(first + n, f"bad {n}", **fields), (n, 0)) for n in range(count))

    store(lines(30, 3 * DAY + 5, device_id="db-1", service="postgres"))
    store(lines(20, 3 * DAY + 5, device_id="srv-1", service="node", level="critical"))
    store(lines(90, 3 * DAY + 5, device_id="srv-1", service="other", level="info"))
    store(lines(99, 2 * DAY + 5, device_id="srv-3", service="node"))
    store(lines(99, now + 2 * HOUR, device_id="srv-4", service="node"))
    store(lines(10, 3 * DAY + 5, device_id="srv-5", service="node"))

    found = context_of(reader, *(anomaly(now, device_id=f"srv-{n}") for n in (1, 3, 4, 5)))
    assert [context.error_rank for context in found] == [2, None, None, 3]


def test_the_last_incident_is_the_one_that_ended_last_before_the_anomaly(reader: Reader, store: Store) -> None:
    def rows(name: str, opened: float, ended: float, **fields: Any) -> list[Any]:
        first = published.incident(opened, name, incident_type="resource_pressure")
        end = TimelineEntry(at=at(ended), event="resolved", by="policy", reason="quiet for 120 s")
        known = {"status": "resolved", "updated_at": at(ended), "resolved_at": at(ended), "timeline": (end,)}
        last = published.incident(
            opened, name, 2, incident_type="resource_pressure", event="resolved", **{**known, **fields}
        )
        return [incident_row(each, Arrival(each.updated_at, 1), each.model_dump_json()) for each in (first, last)]

    store(rows("before", 100, 820))
    store(rows("later", 900, 8000))
    store(rows("open-then", 500, 9000, status="open"))
    found = context_of(reader, anomaly(5000), anomaly(5000, device_id="srv-9"), anomaly(9001), anomaly(50))
    assert [(context.last_incident_id, context.last_incident_outcome) for context in found] == [
        ("before", "resolved after 12 min by policy: quiet for 120 s"),
        (None, None),
        ("later", "resolved after 118 min by policy: quiet for 120 s"),
        (None, None),
    ]


def test_a_device_is_what_was_last_said_of_it(reader: Reader, store: Store) -> None:
    first = published.device(device_id="srv-1", vendor="old", criticality="low", removed=False)
    second = published.device(device_id="srv-1", vendor="Acme", criticality="critical", removed=False, model="")
    gone = published.device(device_id="srv-2", removed=True)
    store(
        [
            device_row(second, Arrival(at(2), 2)),
            device_row(first, Arrival(at(1), 1)),
            device_row(gone, Arrival(at(3), 3)),
        ]
    )
    one, two = context_of(reader, anomaly(10), anomaly(10, device_id="srv-2"))
    assert (one.vendor, one.criticality, one.model) == ("Acme", Severity.CRITICAL, None)
    assert (two.vendor, two.criticality) == (None, None)


def count_queries(reader: Reader) -> list[str]:
    """What the reader is asked from now on."""
    asked: list[str] = []
    query = reader.query

    def counted(sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        asked.append(sql)
        return query(sql, parameters)

    reader.query = counted  # type: ignore[method-assign]
    return asked


def test_without_memory_a_batch_is_one_query_a_question_as_well(reader: Reader) -> None:
    asked = count_queries(reader)
    nothing = CachePolicy(similar_s=0, quantiles_s=0, errors_s=0, incident_s=0, device_s=0)
    batch = (anomaly(n, device_id=f"srv-{n}", rule=f"r{n}") for n in range(50))
    context_of(reader, *batch, policy=POLICY.model_copy(update={"cache": nothing}))
    assert len(asked) == len(set(asked)) == len(QUESTIONS)


def test_a_batch_is_one_query_a_question_and_the_second_time_none(reader: Reader, store: Store) -> None:
    asked = count_queries(reader)
    source = ContextSource(reader, POLICY)
    askers = [
        Asker(anomaly(n / 100, device_id=f"srv-{n}", incident_type="resource_pressure"), own_incident_type)
        for n in range(100)
    ]
    assert all(source.at_once(asker) is None for asker in askers)
    source.fetch(askers)
    assert len(asked) == len(set(asked)) == len(QUESTIONS)
    assert len([found for asker in askers[-5:] if (found := source.at_once(asker))]) == 5
    assert len(asked) == len(QUESTIONS)


def test_a_large_batch_is_answered_over_http_as_well(reader: Reader, chdb_dsn: str) -> None:
    with http_server(chdb_dsn) as port, closing(Reader(f"http://127.0.0.1:{port}", reader.database)) as far:
        context_of(far, *(anomaly(n / 100, device_id=f"srv-{n}", series=f"aurora/srv-{n}/node/m") for n in range(200)))


@pytest.mark.parametrize("version", [5, 7])
def test_a_migration_of_a_full_database_fills_the_helpers(
    reader: Reader, store: Store, chdb_dsn: str, version: int
) -> None:
    store(detected(*(anomaly(n) for n in range(1, 6))))
    store([sample_row(sample(n, 7.0), (n, 0)) for n in range(100)])
    store([log_row(line(n, "x", device_id="srv-1", service="node"), (n, 0)) for n in range(3)])
    end = TimelineEntry(at=at(9), event="resolved", by="ada", reason="done")
    past = published.incident(2, "i", incident_type="resource_pressure", status="resolved", timeline=(end,))
    store([incident_row(past, Arrival(at(9), 1), past.model_dump_json())])
    asked = anomaly(50, series=series_id(sample(0, 0)))
    before = context_of(reader, asked)
    assert before[0].similar_1h == 5
    assert before[0].last_incident_outcome == "resolved after 0 s by ada: done"
    client = open_client(chdb_dsn)
    for name in ("similar", "series_values", "error_hours", "device_incidents"):
        client.command(f"DROP TABLE {reader.database}.{name}_mv SYNC")
        client.command(f"DROP TABLE {reader.database}.{name} SYNC")
    client.command(f"ALTER TABLE {reader.database}.schema_version DELETE WHERE version > 5 SETTINGS mutations_sync = 2")
    values = values_of(reader.database, retention())
    for migration in migrations()[5:version]:
        for statement in migration.statements:
            client.command(render(statement, values))
        client.command(f"INSERT INTO {reader.database}.schema_version VALUES ({migration.version}, 'x', now64(6))")
    assert client.command(f"EXISTS {reader.database}.series_sketches") == (version == 7)
    migrate(client, reader.database, retention())
    assert client.command(f"EXISTS {reader.database}.series_sketches") == 0
    client.close()
    store([sample_row(sample(n, 7.0), (n, 0)) for n in range(100, 110)])
    assert reader.query("SELECT sum(samples) AS n FROM series_values") == [{"n": 110}]
    assert context_of(reader, asked) == before


@pytest.mark.parametrize(
    ("name", "table", "key"),
    [
        ("similar", "similar", "ship_id"),
        ("quantiles", "series_values", "device_id"),
        ("errors", "error_hours", "hour"),
        ("incident", "device_incidents", "device_id"),
        ("device", "devices", "ship_id"),
    ],
)
def test_the_plan_reads_by_primary_key(reader: Reader, chdb_dsn: str, name: str, table: str, key: str) -> None:
    fill(reader, chdb_dsn)
    (question,) = (each for each in QUESTIONS if each.name == name)
    asker = Asker(anomaly(5 * DAY, device_id="srv-7", incident_type="resource_pressure"), own_incident_type)
    asked = question.key(asker)
    assert asked is not None
    ask = Ask(asked, asker.anomaly.ts)
    rows = reader.query(f"EXPLAIN indexes = 1 {question.sql}", parameters([ask]))
    plan = [row["explain"].strip(" │└├─") for row in rows]
    text = "\n".join(plan)
    part = plan[next(place for place, each in enumerate(plan) if f"{reader.database}.{table})" in each) :]
    assert "PrimaryKey" in part, text
    assert key in part, text
    granules = next(each for each in part[part.index("PrimaryKey") :] if each.startswith("Granules:"))
    read, of = (int(number) for number in granules.split(":")[1].split("/"))
    assert of >= 20, text
    assert 1 <= read <= max(2, of // 5), text


def fill(reader: Reader, dsn: str) -> None:
    """Hundreds of thousands of rows in the helpers, made inside ClickHouse."""
    client = open_client(dsn, reader.database)
    day = "toDateTime64('2026-03-01 00:00:00', 6, 'UTC') + toIntervalSecond"
    client.command(
        "INSERT INTO similar SELECT 'aurora', "
        "concat('metric_threshold|cpu_pct|', if(number % 50 = 7, 'cpu_high', toString(number % 50))), "
        f"{day}(intDiv(number, 50) * 100), number, now() FROM numbers(200000)"
    )
    client.command(
        "INSERT INTO series_values SELECT 'aurora', concat('srv-', toString(number % 100)) AS d, "
        "concat('aurora/', d, '/node/m', toString(intDiv(number, 100) % 4)), "
        "toDate('2026-02-20') + intDiv(number, 400) % 20, 40000 + intDiv(number, 8000), 1 FROM numbers(320000)"
    )
    client.command(
        "INSERT INTO error_hours SELECT 'aurora', toDateTime('2026-01-01 00:00:00', 'UTC') + "
        "toIntervalHour(intDiv(number, 50)), "
        "concat('srv-', toString(number % 50)), 'node', 3, now() FROM numbers(100000)"
    )
    client.command(
        "INSERT INTO device_incidents SELECT 'aurora', concat('srv-', toString(number % 100)), 'resource_pressure', "
        f"toString(number), 2, 'resolved', {day}(number), {day}(number + 60), NULL, NULL, 'policy', 'quiet', now(), 1 "
        "FROM numbers(20000)"
    )
    client.command(
        "INSERT INTO devices SELECT if(number < 1000, 'aurora', concat('ship-', toString(intDiv(number, 1000)))), "
        "concat('srv-', toString(number)), "
        "'server', '', '', '', 'high', [], false, now64(6), number FROM numbers(200000)"
    )
    for table in ("similar", "series_values", "error_hours", "device_incidents", "devices"):
        client.command(f"OPTIMIZE TABLE {table} FINAL")
    client.close()
