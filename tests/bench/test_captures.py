import json
import os
from pathlib import Path

import pytest

from schemas.incident import Evidence, IncidentPublished
from tests.bench.capture_labels import (
    HOW_TO_GET,
    SOURCES,
    Judged,
    Series,
    Window,
    WrongSource,
    captures_dir,
    false_incidents,
    judge,
    read_series,
)
from tests.bench.capture_table import table
from tests.bench.captures import figures, main
from tests.bench.flow_run import Found
from tests.bench.log_lines import CapturesMissing
from tests.bench.nab_data import Labelled, load
from tests.support.make import anomaly, at
from tests.support.published import incident

NEEDS_DATA = pytest.mark.skipif(not (os.environ.get("CAPTURES_DIR") and os.environ.get("NAB_DIR")), reason=HOW_TO_GET)
T0 = at(0).timestamp()
HOUR = 3600.0


def labelled(*windows: tuple[float, float]) -> Series:
    """A series with windows given in hours."""
    spans = [Window(T0 + begin * HOUR, T0 + end * HOUR) for begin, end in windows]
    return Series(SOURCES[0], "aurora/srv-1/node/cpu_pct", "%", [], [], spans)


def opened(hour: float, *refs: str, event: str = "created") -> IncidentPublished:
    """A revision of an incident that rests on these anomalies."""
    evidence = tuple(Evidence(ref=ref, tracking_id="t", summary="s", weight=1.0, ts=at(hour * HOUR)) for ref in refs)
    return incident(hour * HOUR, event=event, evidence=evidence)


def found(*said: tuple[str, float, str], revisions: list[IncidentPublished] | None = None) -> Found:
    """What a flow would have published: (id, hour, firing or cleared)."""
    anomalies = [anomaly(hour * HOUR, anomaly_id=ref, state=state) for ref, hour, state in said]
    return Found(anomalies, revisions or [])


def test_a_window_is_found_by_the_first_finding_that_begins_in_it() -> None:
    run = found(
        ("a", 1, "firing"), ("a-", 2, "cleared"), ("b", 12, "firing"), ("b-", 13, "cleared"), ("c", 14, "firing"),
        revisions=[opened(1, "a"), opened(12.5, "b"), opened(14, "b", "c", event="updated")],
    )  # fmt: skip
    judged = judge(labelled((10, 20), (30, 40)), run)
    first, second = judged.hits
    assert (first.finding, first.incident, first.opened, first.ongoing) == (
        T0 + 12 * HOUR,
        T0 + 12.5 * HOUR,
        True,
        False,
    )
    assert first.window.label == T0 + 15 * HOUR
    assert (second.finding, second.incident, second.ongoing) == (None, None, True)  # c has never cleared
    assert [firing.anomaly.anomaly_id for firing in judged.outside] == ["a"]


def test_findings_on_other_series_count_nowhere() -> None:
    run = Found([anomaly(11 * HOUR, device_id="srv-9")])
    judged = judge(labelled((10, 20)), run)
    assert judged.hits[0].finding is None
    assert judged.firings == []


def test_an_incident_open_before_is_said_to_be_joined() -> None:
    run = found(("b", 12, "firing"), revisions=[opened(12.1, "z", "b", event="updated")])
    hit = judge(labelled((10, 20)), run).hits[0]
    assert (hit.incident, hit.opened) == (T0 + 12.1 * HOUR, False)
    assert judge(labelled((10, 20)), found(("b", 12, "firing"))).hits[0].incident is None


def test_incidents_that_rest_on_nothing_labelled_are_false() -> None:
    again = opened(3, "a", event="reopened")
    revisions = [opened(1, "a"), opened(1.1, "a", event="updated"), again, opened(12, "b")]
    run = found(("a", 1, "firing"), ("b", 12, "firing"), revisions=revisions)
    false = false_incidents(run, [judge(labelled((10, 20)), run)])
    assert [each.event for each in false] == ["created", "reopened"]


def test_the_table_says_when_what_was_missed_and_what_was_false() -> None:
    run = found(("a", 1, "firing"), ("a-", 2, "cleared"), ("b", 12, "firing"), revisions=[opened(1, "a")])
    judged = judge(labelled((10, 20), (30, 40)), run)
    logs = Found([anomaly(1, detector="pattern", rule="link_down")], [opened(0, "x")])
    no_judged: list[Judged] = []
    text = table({("engine-room", "full"): (run, [judged]), ("openstack", "full"): (logs, no_judged)})
    rows = text.splitlines()
    assert (
        "| engine-room, main-engine.temperature | full | 1 of 2 | 1: 2.0 h (3.0 h before), no incident "
        "| 2 (already firing) | 1 (1 threshold) |"
    ) in rows
    assert "| engine-room, incidents | full | 0 true | | | 1 false |" in rows
    assert rows[-1] == "| openstack | full | 1 | 1 login_storm | 1 | 1 pattern link_down |"
    assert len({row.count("|") for row in rows if row}) == 1


def test_data_that_is_not_there_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("CAPTURES_DIR", raising=False)
    assert main(["--json"]) == 2
    assert "CAPTURES_DIR must name" in capsys.readouterr().err
    monkeypatch.setenv("CAPTURES_DIR", str(tmp_path))
    with pytest.raises(CapturesMissing, match=r"has no engine-room\.ndjson\.gz"):
        captures_dir()


def test_a_series_that_is_not_its_stream_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = SOURCES[0]
    monkeypatch.setattr("tests.bench.capture_labels.SOURCES", (source,))
    monkeypatch.setattr("tests.bench.capture_labels.METRIC_CAPTURES", (source.capture,))
    monkeypatch.setattr("tests.bench.capture_labels.path_of", lambda folder, name: folder / f"{name}.ndjson")
    lines = []
    for n, value in enumerate((1.0, 2.0, 3.0), 1):
        ts = f"2026-03-01T00:00:0{n}Z"
        body = {"ts": ts, "ship_id": "s", "domain": "system", "service": "engine", "device_id": source.device}
        data = json.dumps({**body, "metric_name": source.metric, "metric_value": value, "unit": None})
        lines.append(json.dumps({"seq": n, "subject": "metrics.ingested.x.y", "ts": ts, "headers": {}, "data": data}))
    (tmp_path / f"{source.capture}.ndjson").write_text("\n".join(lines))
    times = [T0 + 1, T0 + 2, T0 + 3]
    stream = Labelled(source.stream, times, [1.0, 2.0, 3.0], [(1, 2)])
    (series,) = read_series(tmp_path, [stream])
    assert series.windows == [Window(T0 + 2, T0 + 3)]
    assert series.series == "s/main-engine/engine/temperature"
    for wrong in (stream._replace(values=[1.0, 2.0, 3.5]), stream._replace(at=[T0, T0 + 2, T0 + 3])):
        with pytest.raises(WrongSource, match=r"main-engine\.temperature"):
            read_series(tmp_path, [wrong])
    with pytest.raises(WrongSource, match="NAB_DIR has no stream"):
        read_series(tmp_path, [])


@NEEDS_DATA
def test_every_metric_series_of_the_captures_is_the_labelled_stream_it_is_said_to_be() -> None:
    series = read_series(captures_dir(), load(Path(os.environ["NAB_DIR"])))
    assert [len(each.windows) for each in series] == [4, 2, 2, 1, 1, 3, 2]
    assert sum(len(each.values) for each in series) == 29_962 + 20_858


@NEEDS_DATA
@pytest.mark.slow
def test_the_captures_run_through_the_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.captures.CAPTURES", ("server-room", "openssh-bruteforce"))
    runs: dict[tuple[str, str], tuple[Found, list[Judged]]] = {}
    folder, nab = captures_dir(), Path(os.environ["NAB_DIR"])
    by_name = {figure.name: figure for figure in figures(folder, nab, ("poc",), runs)}
    ssh, _ = runs["openssh-bruteforce", "poc"]
    assert by_name["captures.openssh-bruteforce.poc.incidents"].value == len(ssh.openings) >= 1
    assert {each.incident_type for each in ssh.openings} >= {"auth_attack"}
    assert by_name["captures.server-room.poc.dead_letters"].value == 0
    assert by_name["captures.server-room.poc.api-1.request_latency_ms.found"].floor == 3
    assert len(runs["server-room", "poc"][1]) == 5
