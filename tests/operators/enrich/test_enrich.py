"""The step: order, the time limit, a ClickHouse that is away or slow, and none at all."""

import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main
from structlog.testing import capture_logs

from operators.clickhouse import ClickHouseAwayError, ClickHouseQueryError, Reader
from operators.enrich import ContextSource, enrich, open_context, try_context
from operators.enrich.asks import Asker
from operators.enrich.at_once import at_once
from operators.enrich.cache import MISSING, TtlCache
from operators.enrich.operator import own_incident_type
from operators.enrich.questions import QUESTIONS
from operators.enrich.saved import load_event, save_event
from operators.observability import FlowMetrics
from policy import PolicySet, load_policy
from policy.enrich import BreakerPolicy, EnrichPolicy
from schemas.anomaly import AnomalyDetected, AnomalyEnriched, ContextData
from schemas.event import Event
from schemas.ops import Device, OpsCommand
from tests.operators.enrich.conftest import Store, detected
from tests.support.make import anomaly, at, event, line, sample, tick
from tests.support.nats import warnings

POLICY = load_policy(None)
RULES = POLICY.default.enrich
PATIENT = RULES.model_copy(update={"timeout_ms": 60_000.0})
"""For what is not about the limit: on a busy machine half a second is soon over."""

Answer = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]


class FakeReader:
    """Answers as told; counts what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked = 0
        self.closed = False

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        self.asked += 1
        return self.answer(sql, parameters or {})

    def close(self) -> None:
        self.closed = True


def source_of(answer: Answer, policy: EnrichPolicy = PATIENT, **known: Any) -> tuple[ContextSource, FakeReader]:
    reader = FakeReader(answer)
    return ContextSource(reader, policy, **known), reader  # type: ignore[arg-type]


def run(
    events: list[Event], context: ContextSource | None, batch: int = 10, policy: PolicySet = POLICY, **known: Any
) -> list[Event]:
    out: list[Event] = []
    flow = Dataflow("enrich")
    stream = op.input("in", flow, TestingSource(events, batch_size=batch))
    op.output("out", enrich("enrich", stream, policy=policy, context=context, **known), TestingSink(out))
    run_main(flow)
    return out


def story(count: int = 60) -> list[Event]:
    out = []
    for n in range(count):
        out += [tick(n), event(anomaly(n + 0.5, device_id=f"srv-{n % 7}"))]
    return out


def bodies(events: list[Event]) -> list[AnomalyEnriched]:
    return [each.body for each in events if isinstance(each.body, AnomalyEnriched)]


def nothing(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    return []


def away(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    raise ClickHouseAwayError("ClickHouse at http://x cannot be reached (Connection refused): start it")


def test_order_is_kept_and_ticks_pass_in_their_places_while_answers_come_late() -> None:
    def slow(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        time.sleep(0.002)
        return []

    events = story()
    context, reader = source_of(slow)
    out = run(events, context)
    assert [(each.pos, each.at) for each in out] == [(each.pos, each.at) for each in events]
    assert len(bodies(out)) == 60
    assert all(body.error_msg is None and body.context.similar_7d == 0 for body in bodies(out))
    assert reader.closed


def test_without_a_source_of_context_it_is_what_it_was() -> None:
    out = run(story(), None)
    assert [each.body.context for each in out if isinstance(each.body, AnomalyEnriched)] == [ContextData()] * 60
    assert {body.error_msg for body in bodies(out)} == {None}
    assert {body.severity_reason for body in bodies(out)} == {"score 0.8 reaches 0.8"}


def test_a_ship_whose_policy_wants_no_enrichment_is_not_asked_about(tmp_path: Any) -> None:
    (tmp_path / "policy.yaml").write_text("features: {enrichment: false}\n")
    context, reader = source_of(nothing)
    out: list[Event] = []
    flow = Dataflow("enrich")
    stream = op.input("in", flow, TestingSource(story()))
    op.output("out", enrich("enrich", stream, policy=load_policy(tmp_path), context=context), TestingSink(out))
    run_main(flow)
    assert bodies(out) == bodies(run(story(), None))
    assert reader.asked == 0


def test_severity_follows_from_context_and_says_so() -> None:
    def answer(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "FROM devices" not in sql:
            return []
        known = {"device_type": "modem", "vendor": "", "model": "", "location": "mast", "criticality": "critical"}
        return [{"device_id": "srv-1", **known}, {"device_id": "srv-2", **known, "criticality": "low"}]

    (found,) = bodies(run([event(anomaly(1, score=0.85))], source_of(answer)[0]))
    assert (found.severity, found.context.location, found.context.vendor) == ("critical", "mast", None)
    assert found.severity_reason == "score 0.85 reaches 0.8, raised: device of critical criticality"


def test_what_went_wrong_before_stays_in_error_msg() -> None:
    (found,) = bodies(run([event(anomaly(1, error_msg="clock was wrong"))], source_of(away)[0]))
    assert found.error_msg is not None
    assert found.error_msg.startswith("clock was wrong; context without what the device is, similar anomalies")


def test_a_dead_clickhouse_costs_nothing_after_some_failures() -> None:
    context, reader = source_of(away)
    metrics = FlowMetrics("test")
    begun = time.monotonic()
    out = bodies(run(story(500), context, batch=5, metrics=metrics))
    took = time.monotonic() - begun
    assert len(out) == 500
    assert all("cannot be reached (Connection refused): start it" in str(body.error_msg) for body in out)
    assert "ClickHouse is left alone for 10 s after: " in str(out[-1].error_msg)
    assert reader.asked <= 2 * RULES.breaker.failures * len(QUESTIONS)
    assert took < 30.0, "half a second for each would be minutes"
    assert metrics.registry.get_sample_value("watchkeeper_enriched_total", {"context": "none"}) == 500


def test_a_clickhouse_that_hangs_costs_each_anomaly_at_most_the_limit_and_only_for_a_while() -> None:
    gate = threading.Event()

    def hang(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        gate.wait(20)
        return []

    policy = RULES.model_copy(
        update={"timeout_ms": 100.0, "linger_ms": 0.0, "breaker": BreakerPolicy(failures=2, open_s=30)}
    )
    context, _ = source_of(hang, policy)
    waits: list[float] = []
    came: dict[Any, float] = {}

    def enter(item: Event) -> Event:
        came[item.pos] = time.monotonic()
        return item

    def leave(item: Event) -> Event:
        waits.append(time.monotonic() - came[item.pos])
        return item

    out: list[Event] = []
    flow = Dataflow("enrich")
    stream = op.map("enter", op.input("in", flow, TestingSource(story(40), batch_size=4)), enter)
    enriched = enrich("enrich", stream, policy=POLICY, context=context)
    op.output("out", op.map("leave", enriched, leave), TestingSink(out))
    run_main(flow)
    gate.set()
    assert len(bodies(out)) == 40
    assert max(waits) < 0.1 + 1.5
    assert all("no answer within 100 ms" in str(body.error_msg) for body in bodies(out))
    assert context.breaker.refuses(time.monotonic()) is not None


def test_what_was_answered_before_time_ran_out_is_not_thrown_away() -> None:
    def answer(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "FROM similar" in sql:
            return [{"thing": thing, "hour": 1, "day": 2, "week": 3} for thing in parameters["things"]]
        if "FROM series_values" in sql:
            gate.wait(20)
        return []

    gate = threading.Event()
    context, _ = source_of(answer, RULES.model_copy(update={"timeout_ms": 3000.0}))
    (found,) = bodies(run([event(anomaly(1))], context))
    assert (found.context.similar_1h, found.context.similar_7d) == (1, 3)
    gate.set()
    assert found.error_msg == "context without the metric's p50 and p95: no answer within 3000 ms"


def test_the_kind_of_incident_follows_from_the_type_of_the_device(tmp_path: Any) -> None:
    (tmp_path / "enrich.yaml").write_text("severity: {at_least: {comms_outage: critical}}\n")
    asked: list[str] = []

    def answer(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "FROM devices" in sql:
            known = dict.fromkeys(("vendor", "model", "location", "criticality"), "")
            return [{"device_id": "vsat-1", "device_type": "vsat_modem", **known}]
        if "FROM device_incidents" in sql:
            asked.extend(parameters["types"])
        return []

    def kind(found: AnomalyDetected, device_type: str | None) -> str:
        return "comms_outage" if device_type == "vsat_modem" else "other"

    context, reader = source_of(answer)
    policy = load_policy(tmp_path)
    modem, server = (event(anomaly(1, device_id=name, incident_type=None)) for name in ("vsat-1", "srv-1"))
    for _ in range(2):
        (found,) = bodies(run([modem], context, policy=policy, incident_type=kind))
        assert found.severity_reason.endswith(", at least critical: comms_outage")
        assert asked == ["comms_outage"]
        assert reader.asked == len(QUESTIONS)
    (found,) = bodies(run([server], context, policy=policy, incident_type=kind))
    assert "comms_outage" not in found.severity_reason
    assert asked == ["comms_outage", "other"]


def test_without_an_answer_the_kind_of_incident_is_that_of_an_unknown_device() -> None:
    asked: list[str | None] = []

    def kind(found: AnomalyDetected, device_type: str | None) -> str:
        asked.append(device_type)
        return "other"

    context, _ = source_of(away)
    (found,) = bodies(run([event(anomaly(1, incident_type=None))], context, incident_type=kind))
    assert set(asked) == {None}
    assert found.error_msg is not None


def test_one_question_that_is_refused_does_not_keep_the_others_from_being_answered() -> None:
    def answer(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "FROM error_hours" in sql:
            raise ClickHouseQueryError("ClickHouse at x refused a statement (no such function)", 46)
        return []

    (found,) = bodies(run([event(anomaly(1))], source_of(answer)[0]))
    assert found.context.similar_7d == 0
    assert found.error_msg == (
        "context without the rank among today's errors: ClickHouse at x refused a statement (no such function)"
    )


def test_it_is_asked_again_once_a_probe_in_the_background_was_answered() -> None:
    now, broken = [0.0], [True]

    def answer(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return away(sql, parameters) if broken[0] else []

    context, _ = source_of(answer, clock=lambda: now[0])
    asker = Asker(anomaly(1), own_incident_type)
    for _ in range(RULES.breaker.failures):
        assert context.at_once(asker) is None
        with pytest.raises(ClickHouseAwayError):
            context.fetch([asker])
    refused = context.at_once(asker)
    assert refused is not None
    assert refused.missing is not None
    assert context.fetch([asker]) == [refused]
    broken[0], now[0] = False, 10.0
    assert context.at_once(asker) == refused
    deadline = time.monotonic() + 10
    while context.at_once(asker) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    (found,) = context.fetch([asker])
    assert found.missing is None


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_never_answers_holds_nobody_up_for_longer_than_the_limit(silent_server: int) -> None:
    policy = RULES.model_copy(update={"breaker": BreakerPolicy(failures=2, open_s=30)})
    context = open_context(f"http://127.0.0.1:{silent_server}", "watchkeeper", policy)
    pause = TestingSource.PAUSE(timedelta(milliseconds=100))
    script: list[Any] = [each for item in story(15) for each in (item, pause)]
    came: dict[Any, float] = {}
    waits: dict[Any, float] = {}

    def enter(item: Event) -> Event:
        came[item.pos] = time.monotonic()
        return item

    def leave(item: Event) -> Event:
        waits[item.pos] = time.monotonic() - came[item.pos]
        return item

    out: list[Event] = []
    flow = Dataflow("enrich")
    stream = op.map("enter", op.input("in", flow, TestingSource(script)), enter)
    enriched = enrich("enrich", stream, policy=POLICY, context=context)
    op.output("out", op.map("leave", enriched, leave), TestingSink(out))
    run_main(flow)
    found = [each for each in out if isinstance(each.body, AnomalyEnriched)]
    assert len(found) == 15
    assert all(body.error_msg for body in bodies(out))
    assert max(waits.values()) < 0.5 + 1.5
    assert context.breaker.refuses(time.monotonic()) is not None
    assert "ClickHouse is left alone for 30 s after: " in str(bodies(out)[-1].error_msg)
    assert waits[found[-1].pos] < 0.4, "the breaker is open: nobody waits"


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("clickhouse:9000", "CLICKHOUSE_DSN has scheme"),
        ("", "CLICKHOUSE_DSN has scheme"),
        ("http://host:port/x", "CLICKHOUSE_DSN cannot be read"),
        ("chdb://relative", "CLICKHOUSE_DSN of scheme chdb names no absolute folder"),
    ],
)
def test_a_dsn_that_cannot_be_right_is_one_warning_and_no_context(dsn: str, says: str) -> None:
    with capture_logs() as logs:
        assert try_context(dsn, "watchkeeper", RULES, shares_chdb=True) is None
    (told,) = warnings(logs)
    assert told["setting"] == "CLICKHOUSE_DSN"
    assert says in told["reason"]
    assert "expected for example" in told["reason"]


def test_an_embedded_database_of_another_process_is_left_alone(tmp_path: Any) -> None:
    with capture_logs() as logs:
        assert try_context(f"chdb://{tmp_path}/c", "watchkeeper", RULES) is None
    assert [told["reason"] for told in warnings(logs)] == ["the embedded database belongs to another process"]
    assert not (tmp_path / "c").exists()


def test_a_server_that_is_not_there_is_told_in_plain_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    out = bodies(run(story(5), open_context(f"http://127.0.0.1:{port}", "watchkeeper", PATIENT)))
    assert f"ClickHouse at http://127.0.0.1:{port} cannot be reached (Connection refused)" in str(out[0].error_msg)


def test_with_chdb_the_context_is_there(reader: Reader, store: Store, chdb_dsn: str) -> None:
    store(detected(*(anomaly(n) for n in range(5))))
    context = open_context(chdb_dsn, reader.database, PATIENT)
    (found,) = bodies(run([event(anomaly(100))], context))
    assert (found.context.similar_1h, found.error_msg) == (5, None)


def test_a_database_without_tables_is_told_and_costs_nothing(chdb_dsn: str) -> None:
    out = bodies(run(story(5), open_context(chdb_dsn, "nobody_made_this", PATIENT)))
    assert all("start the archive flow, which creates them" in str(body.error_msg) for body in out)


def test_once_warm_nobody_waits_for_connections(reader: Reader, chdb_dsn: str) -> None:
    context = open_context(chdb_dsn, reader.database, PATIENT)
    assert context._warming is not None
    context._warming.join(20)
    assert context.breaker.refuses(time.monotonic()) is None
    assert context._reader._idle.qsize() == len(QUESTIONS)
    context.close()


def test_the_limit_holds_for_a_whole_batch_beyond_capacity() -> None:
    def slow(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        time.sleep(0.01)
        return []

    context, _ = source_of(slow, PATIENT.model_copy(update={"capacity": 10, "max_batch": 5}))
    events = [event(anomaly(n, device_id=f"srv-{n}", rule=f"r{n}")) for n in range(100)]
    out = run(events, context, batch=100)
    assert [each.pos for each in out] == [each.pos for each in events]


@pytest.mark.parametrize(
    "body",
    [
        anomaly(1, since=at(0.123456), fields={"ip": "10.0.0.9"}, evidence_ids=("a", "b"), lower=0.1),
        tick(3).body,
        OpsCommand(command_id="c", ship_id="aurora", action="ack", incident_id="i", by="ada"),
        Device(ship_id="aurora", device_id="d", depends_on=("x",)),
        line(3, "sí"),
        sample(4, 0.1),
    ],
)
def test_what_waits_survives_a_restart_whole(body: Any) -> None:
    one = Event((7, -1), at(1.000001), body)
    saved = pickle.loads(pickle.dumps(save_event(one)))
    assert load_event(saved) == one
    assert type(load_event(saved).body) is type(body)


def test_memory_is_bounded_and_forgets_by_the_clock_and_by_event_time() -> None:
    now = [0.0]
    cache = TtlCache(10, 3, lambda: now[0])
    for n in range(5):
        cache.put(("k", str(n)), at(100), n)
    assert len(cache) == 3
    assert cache.get(("k", "0"), at(100)) is MISSING
    assert cache.get(("k", "4"), at(110)) == 4
    assert cache.get(("k", "4"), at(90)) == 4
    assert cache.get(("k", "4"), at(111)) is MISSING
    now[0] = 10.1
    assert cache.get(("k", "4"), at(100)) is MISSING
    kept_nothing = TtlCache(0, 3)
    kept_nothing.put(("k",), at(1), 1)
    assert kept_nothing.get(("k",), at(1)) is MISSING


def test_questions_are_asked_at_once_and_an_error_waits_for_the_others() -> None:
    both = threading.Barrier(3)
    done: list[int] = []

    def work(number: int) -> None:
        both.wait(10)
        if number != 1:
            raise ValueError(str(number))
        done.append(number)

    with pytest.raises(ValueError, match="0"):
        at_once([partial(work, number) for number in range(3)])
    assert done == [1]
    at_once([])
