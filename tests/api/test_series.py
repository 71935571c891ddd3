"""A series with its points and findings, the names of series, and one anomaly by its id."""

from urllib.parse import quote

import pytest

from api.queries import series as query
from operators.clickhouse import Reader
from tests.api.client import ApiClient
from tests.api.conftest import Archive
from tests.api.story import both, row_of
from tests.api.test_hostile import CORPUS
from tests.support.make import anomaly, at, sample

SERIES = "aurora/srv-1/node/cpu_pct"
HOUR = 3600.0


def path(series: str = SERIES) -> str:
    return f"/api/v3/series/{quote(series, safe='')}"


def text(seconds: float) -> str:
    return at(seconds).isoformat().replace("+00:00", "Z")


def test_points_and_findings_of_a_series_in_the_order_of_time(api: ApiClient, archive: Archive) -> None:
    archive.add(row_of(sample(20, 91.5)), row_of(sample(10, 50)), row_of(sample(15, 1, device_id="srv-2")))
    fired = anomaly(20, since=at(10), upper=85.0, msg="cpu_pct: 91.5 is above 85")
    cleared = anomaly(30, state="cleared", score=0.0)
    archive.add(row_of(cleared), row_of(fired), row_of(anomaly(20, device_id="srv-2")))
    found = api.json(path())
    assert found == {
        "series": SERIES,
        "ship_id": "aurora",
        "device_id": "srv-1",
        "service": "node",
        "metric_name": "cpu_pct",
        "unit": "%",
        "from": "2026-02-28T01:00:00Z",
        "to": "2026-03-01T01:00:00.000001Z",
        "first_at": text(10),
        "last_at": text(20),
        "points": [
            {"ts": text(10), "value": 50.0, "min": 50.0, "max": 50.0, "samples": 1},
            {"ts": text(20), "value": 91.5, "min": 91.5, "max": 91.5, "samples": 1},
        ],
        "findings": [
            {
                "anomaly_id": fired.anomaly_id,
                "state": "firing",
                "detector": "threshold",
                "rule": "cpu_high",
                "ts": text(20),
                "since": text(10),
                "score": 0.8,
                "expected": None,
                "lower": None,
                "upper": 85.0,
                "msg": "cpu_pct: 91.5 is above 85",
            },
            found["findings"][1],
        ],
        "findings_left_out": 0,
    }
    assert (found["findings"][1]["anomaly_id"], found["findings"][1]["state"]) == (cleared.anomaly_id, "cleared")


def test_a_spike_among_many_samples_stays_to_be_seen(api: ApiClient, archive: Archive) -> None:
    values = [10.0 + n % 2 for n in range(3000)]
    values[1234], values[2000] = 99.0, -5.0
    archive.add(*(row_of(sample(n, value)) for n, value in enumerate(values)))
    span = {"from": text(0), "to": text(3000)}
    points = api.json(path(), points=100, **span)["points"]
    assert len(points) == 100
    assert sum(point["samples"] for point in points) == 3000
    assert [n for n, point in enumerate(points) if point["max"] == 99.0] == [1234 // 30]
    assert [n for n, point in enumerate(points) if point["min"] == -5.0] == [2000 // 30]
    assert points[0] == {"ts": text(0), "value": 10.5, "min": 10.0, "max": 11.0, "samples": 30}
    assert points[1]["ts"] == text(30)
    assert [p["value"] for p in api.json(path(), points=3000, **span)["points"]] == values
    assert len(api.json(path(), **span)["points"]) == 1000
    (one,) = api.json(path(), points=1, **span)["points"]
    assert (one["min"], one["max"], one["samples"]) == (-5.0, 99.0, 3000)


def test_a_span_has_its_begin_and_not_its_end(api: ApiClient, archive: Archive) -> None:
    archive.add(*(row_of(sample(n, n)) for n in (10, 20, 30)), *(row_of(anomaly(n)) for n in (10, 30)))
    found = api.json(path(), **{"from": text(10), "to": text(30)})
    assert [point["value"] for point in found["points"]] == [10, 20]
    assert [each["ts"] for each in found["findings"]] == [text(10)]
    empty = api.json(path(), **{"from": text(11), "to": text(12)})
    assert empty["points"] == []
    assert (empty["first_at"], empty["last_at"]) == (text(10), text(30))


def test_what_fired_before_the_span_and_goes_on_is_in_it(api: ApiClient, archive: Archive) -> None:
    archive.add(row_of(sample(50, 1)))
    over = [anomaly(1, rule="over"), anomaly(2, rule="over", state="cleared")]
    goes_on = [anomaly(1, rule="goes on", state="cleared"), anomaly(3, rule="goes on"), anomaly(55, rule="new")]
    archive.add(*map(row_of, [*over, *goes_on]))
    found = api.json(path(), **{"from": text(40), "to": text(60)})["findings"]
    assert [(each["rule"], each["ts"]) for each in found] == [("goes on", text(3)), ("new", text(55))]


def test_rows_written_twice_and_both_stages_count_once(api: ApiClient, archive: Archive) -> None:
    rows = [row_of(sample(1, 10)), row_of(sample(2, 40))]
    archive.add(*rows)
    archive.add(*rows)
    for stage in both(2):
        archive.add(row_of(stage))
    found = api.json(path(), points=1)
    assert (found["points"][0]["samples"], found["points"][0]["value"]) == (2, 25.0)
    assert len(found["findings"]) == 1
    assert found["findings_left_out"] == 0


def test_the_newest_findings_are_kept_and_the_others_counted(api: ApiClient, archive: Archive) -> None:
    archive.add(row_of(sample(1, 10)), *(row_of(anomaly(n)) for n in range(query.MAX_FINDINGS + 7)))
    found = api.json(path())
    assert found["findings_left_out"] == 7
    assert [each["ts"] for each in found["findings"]] == [text(n) for n in range(7, query.MAX_FINDINGS + 7)]


def test_huge_values_have_a_finite_mean(api: ApiClient, archive: Archive) -> None:
    archive.add(*(row_of(sample(n, 1.7e308)) for n in range(4)))
    (point,) = api.json(path(), points=1)["points"]
    assert point["value"] == point["max"] == 1.7e308


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": {"core": "0", "path": "/var/lib/a"}},
        {"device_id": "rack/1", "service": "a/b", "metric_name": "m/s"},
        {"device_id": "/", "service": "//"},
        {"device_id": "..", "service": ".", "metric_name": "%2F?x=1#y"},
        {"device_id": "борей ⚓", "metric_name": "a{b}", "labels": {"k": "{x}"}},
        {"device_id": "/".join("abcdefghijklmnopqrstuvwxyz0123456789")},
        # A path's parameter ends at a line break.
        *({"metric_name": value} for value in CORPUS if "\n" not in value),
    ],
)
def test_a_series_of_any_name_is_found_by_exactly_its_name(
    api: ApiClient, archive: Archive, fields: dict[str, str]
) -> None:
    row = row_of(sample(1, 42, **fields))
    name = str(row.values[-2])
    archive.add(row, row_of(sample(2, 1)), row_of(anomaly(1, series=name)))
    found = api.json(path(name))
    assert [point["value"] for point in found["points"]] == [42.0]
    assert len(found["findings"]) == 1
    assert name in [item["series"] for item in api.json("/api/v3/series", like=name)["items"]]


def test_the_order_of_the_table_is_used(reader: Reader, archive: Archive) -> None:
    archive.add(*(row_of(sample(n, 1, device_id=f"srv-{n:05}")) for n in range(30_000)))
    parameters = {**query._place("aurora/srv-15000/node/cpu_pct"), "since": 0, "until": 2**60}
    plan = reader.query("EXPLAIN indexes = 1, json = 0 " + query.KNOWN, parameters)
    lines = [next(iter(row.values())).strip() for row in plan]
    keys = lines[lines.index("PrimaryKey") :]
    assert "Granules: 1/4" in keys or "Granules: 1/3" in keys, lines


def test_an_unknown_series_names_near_ones_and_the_next_step(api: ApiClient, archive: Archive) -> None:
    assert "/api/v3/series?like=" in api.problem(404, path("aurora/none"))["detail"]
    archive.add(row_of(sample(1, 1)))
    detail = api.problem(404, path("aurora/srv-9/node/cpu_pct"))["detail"]
    assert "near it: aurora/srv-1/node/cpu_pct;" in detail


def test_a_series_of_log_lines_has_findings_and_no_points(api: ApiClient, archive: Archive) -> None:
    name = "aurora/gw-1/sshd/log:storm"
    archive.add(row_of(anomaly(1, series=name, device_id="gw-1", service="sshd", metric_name=None, rule=None)))
    found = api.json(path(name))
    assert (found["points"], found["metric_name"], found["first_at"]) == ([], None, None)
    assert (found["device_id"], len(found["findings"])) == ("gw-1", 1)


def test_names_by_part_the_ones_that_end_so_first(api: ApiClient, archive: Archive) -> None:
    archive.add(
        *(row_of(sample(n, 1, device_id=f"srv-{n}")) for n in range(120)),
        row_of(sample(7, 1, device_id="a", metric_name="cpu_pct_total", unit=None)),
        row_of(sample(7, 1, ship_id="boreas", metric_name="CPU_pct")),
    )
    everything = api.json("/api/v3/series")
    assert (len(everything["items"]), everything["more"]) == (100, True)
    found = api.json("/api/v3/series", like="srv-7/node/cpu")
    assert found == {
        "items": [
            {
                "series": "aurora/srv-7/node/cpu_pct",
                "ship_id": "aurora",
                "device_id": "srv-7",
                "service": "node",
                "metric_name": "cpu_pct",
                "unit": "%",
                "last_at": text(7),
            }
        ],
        "more": False,
    }
    assert [i["series"] for i in api.json("/api/v3/series", ship="boreas")["items"]] == ["boreas/srv-1/node/CPU_pct"]
    assert api.json("/api/v3/series", like="CPU_PCT_TOTAL")["items"][0]["unit"] is None
    assert api.json("/api/v3/series", like="cpu_pct", limit=3)["items"][0]["series"].endswith("/cpu_pct")
    assert api.json("/api/v3/series", like="nothing") == {"items": [], "more": False}


def test_one_anomaly_as_published_enriched_if_it_is(api: ApiClient, archive: Archive) -> None:
    detected, enriched = both(5)
    archive.add(row_of(detected))
    assert api.json(f"/api/v3/anomalies/{detected.anomaly_id}") == detected.to_dict()
    archive.add(row_of(enriched))
    found = api.json(f"/api/v3/anomalies/{detected.anomaly_id}")
    assert found == enriched.to_dict()
    assert found["series"] == SERIES
    assert "an incident's evidence" in api.problem(404, "/api/v3/anomalies/none")["detail"]


@pytest.mark.parametrize(
    ("where", "params", "says"),
    [
        (path(), {"points": "0"}, "query.points"),
        (path(), {"points": "10001"}, "query.points"),
        (path(), {"window": "1h", "from": text(0)}, "exclude each other"),
        (path(), {"from": "yesterday"}, "query.from"),
        (path("x" * 2049), {}, "path.series_id"),
        ("/api/v3/series/", {}, "path.series_id"),
        ("/api/v3/series", {"limit": "101"}, "query.limit"),
        ("/api/v3/series", {"like": "x" * 2049}, "query.like"),
    ],
)
def test_a_wrong_parameter_is_refused(api: ApiClient, where: str, params: dict[str, str], says: str) -> None:
    assert says in api.problem(422, where, **params)["detail"]
