"""decode: what is read, what is refused and why; a property test that nothing is lost."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.decode import DecodeLimits, Decoder, Refused
from schemas.base import Level
from schemas.event import Event, RawMessage
from schemas.ops import Device, OpsCommand, OpsTick
from schemas.telemetry import LogMessage, MetricSample
from tests.support.make import at, raw

LOGS = "logs.ingested.security.sshd"
METRICS = "metrics.ingested.system.srv-1"
SAMPLE = {"service": "node", "metric_name": "cpu_pct", "metric_value": 12.5}
GIVEN = "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"


def decode(message: RawMessage, **limits: Any) -> list[Event | Refused]:
    return list(Decoder("aurora", DecodeLimits(**limits)).decode(message))


def one(message: RawMessage) -> Any:
    (item,) = decode(message)
    assert isinstance(item, Event), item
    return item.body


def refused(message: RawMessage, **limits: Any) -> Refused:
    (item,) = decode(message, **limits)
    assert isinstance(item, Refused), item
    return item


def test_a_log_keeps_what_it_says_and_gets_what_the_subject_says() -> None:
    body = one(
        raw(
            1,
            LOGS,
            {"device_id": "gw-1", "level": "WARNING", "msg": "hello", "pid": 7, "ts": "2026-02-28T23:00:00+00:00"},
        )
    )
    assert isinstance(body, LogMessage)
    assert (body.ship_id, body.domain, body.service, body.level) == ("aurora", "security", "sshd", Level.WARN)
    assert body.meta == {"pid": 7}
    assert body.ts.isoformat() == "2026-02-28T23:00:00+00:00"
    assert body.observed_at == at(1)


def test_a_sample_gets_domain_and_device_from_the_subject_and_its_arrival_as_time() -> None:
    body = one(raw(2, METRICS, SAMPLE))
    assert isinstance(body, MetricSample)
    assert (body.domain, body.device_id, body.metric_value, body.ts) == ("system", "srv-1", 12.5, at(2))


def test_a_given_tracking_id_is_kept_in_lower_case() -> None:
    assert one(raw(1, METRICS, {**SAMPLE, "tracking_id": GIVEN.upper()})).tracking_id == GIVEN


def test_a_tracking_id_is_made_from_the_place_in_the_stream_and_what_was_given_is_kept() -> None:
    message = raw(9, LOGS, {"device_id": "gw-1", "msg": "x", "tracking_id": "not-a-uuid"})
    body = one(message)
    assert body.tracking_id == one(message).tracking_id
    assert body.tracking_id.endswith("000000000009")
    assert body.meta == {"tracking_id": "not-a-uuid"}


def test_arrays_and_lines_give_an_event_each_in_order() -> None:
    array = decode(raw(3, METRICS, [SAMPLE, SAMPLE]))
    lines = decode(raw(3, METRICS, "\n".join(json.dumps(SAMPLE) for _ in range(3))))
    assert [item.pos for item in array if isinstance(item, Event)] == [(3, 0), (3, 1)]
    assert [item.pos for item in lines if isinstance(item, Event)] == [(3, 0), (3, 1), (3, 2)]


def test_one_bad_line_or_item_does_not_spoil_the_others() -> None:
    good = json.dumps(SAMPLE)
    for body in (f"{good}\n{{broken\n{good}", json.dumps([SAMPLE, {**SAMPLE, "metric_value": "x"}, SAMPLE])):
        items = decode(raw(4, METRICS, body))
        assert [item.pos for item in items if isinstance(item, Event)] == [(4, 0), (4, 2)]
        assert [item.letter.index for item in items if isinstance(item, Refused)] == [1]


def test_a_message_that_is_bad_all_over_is_one_dead_letter_and_its_good_items_are_read() -> None:
    message = raw(4, METRICS, [{}] * 500 + [SAMPLE])
    *events, refusal = decode(message)
    assert len(events) == 1
    assert isinstance(refusal, Refused)
    assert refusal.letter.data() == message.data
    assert refusal.letter.reason.startswith("more than 10 items, the first: ")


def test_a_time_after_arrival_is_clamped_to_it() -> None:
    assert one(raw(5, METRICS, {**SAMPLE, "ts": at(500).isoformat()})).ts == at(5)


def test_ticks_commands_and_devices() -> None:
    assert isinstance(one(raw(1, "any", b"")._replace(tick=True)), OpsTick)
    assert decode(raw(1, "ops.tick", {"ship_id": "aurora"})) == []
    command = one(raw(1, "ops.command", {"command_id": "c1", "action": "ack", "by": "eva", "incident_id": "i"}))
    assert isinstance(command, OpsCommand)
    assert isinstance(one(raw(1, "ops.device", {"device_id": "vsat"})), Device)


DEEP = "[" * 10_000 + "]" * 10_000


@pytest.mark.parametrize(
    ("subject", "body", "code", "says"),
    [
        (METRICS, b"", "empty", "empty message"),
        (METRICS, b"  \n ", "empty", "empty message"),
        (METRICS, b'{"metric_name": "cpu', "not_json", "EOF"),
        (METRICS, b"\xff\xfe\x00broken", "not_json", "not JSON"),
        (METRICS, json.dumps(SAMPLE).encode() + b"\xff", "not_json", "not JSON"),
        (METRICS, DEEP, "not_json", "recursion"),
        (METRICS, '{"service": "node", "metric_name": "m", "metric_value": NaN}', "invalid_field", "finite"),
        (METRICS, {**SAMPLE, "metric_value": "NaN"}, "invalid_field", "metric_value"),
        (METRICS, {**SAMPLE, "metric_value": None}, "invalid_field", "metric_value"),
        (METRICS, {**SAMPLE, "metric_value": {"a": 1}}, "invalid_field", "metric_value"),
        (METRICS, {**SAMPLE, "metric_value": "1e999"}, "invalid_field", "metric_value"),
        (METRICS, {**SAMPLE, "ts": "9999-12-31T23:59:59Z"}, "time", "after its arrival"),
        (METRICS, {**SAMPLE, "ts": "0001-01-01T00:00:00Z"}, "time", "before 1970"),
        (METRICS, {**SAMPLE, "ts": "2026-01-01T00:00:00"}, "invalid_field", "time zone missing"),
        (METRICS, {**SAMPLE, "ts": "9999-12-31T23:59:59-14:00"}, "invalid_field", "ts"),
        (METRICS, {**SAMPLE, "ts": "yesterday"}, "invalid_field", "ts"),
        (METRICS, {**SAMPLE, "domain": "kitchen"}, "invalid_field", "domain"),
        (METRICS, {**SAMPLE, "labels": {"a": [1]}}, "invalid_field", "labels"),
        (METRICS, "12", "wrong_shape", "expected a JSON object"),
        (METRICS, "null", "wrong_shape", "expected a JSON object"),
        (LOGS, {"device_id": "gw-1"}, "invalid_field", "msg"),
        (LOGS, {"device_id": "gw-1", "msg": 7}, "invalid_field", "msg"),
        (LOGS, {"device_id": "", "msg": "x"}, "invalid_field", "device_id"),
        (LOGS, {"msg": "x"}, "invalid_field", "device_id"),
        ("ops.command", {"action": "explode"}, "invalid_field", "command_id"),
        ("somewhere.else", {"msg": "x"}, "unknown_subject", "somewhere.else"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason_and_kept_whole(
    subject: str, body: Any, code: str, says: str
) -> None:
    message = raw(11, subject, body)
    item = refused(message)
    assert item.code == code
    assert says in item.letter.reason
    assert (item.letter.stream, item.letter.sequence, item.letter.subject) == ("TELEMETRY", 11, subject)
    if item.letter.index == 0 and code in ("empty", "not_json"):
        assert item.letter.data() == message.data


def test_a_message_over_the_limit_is_refused_and_says_the_limit() -> None:
    item = refused(raw(1, LOGS, b"x" * 1_000_000), message_bytes=262_144)
    assert "1000000 bytes, at most 262144" in item.letter.reason
    assert (item.letter.size, item.letter.truncated) == (1_000_000, True)
    many = refused(raw(1, METRICS, [SAMPLE] * 11), items=10)
    assert "11 items, at most 10" in many.letter.reason


def test_the_future_bound_is_policys() -> None:
    late = {**SAMPLE, "ts": at(7200).isoformat()}
    assert refused(raw(1, METRICS, late), future=timedelta(hours=1)).code == "time"


@pytest.mark.parametrize(("subject", "item"), [(METRICS, SAMPLE), (LOGS, {"msg": "x", "device_id": "gw-1"})])
def test_a_time_long_before_its_arrival_is_refused(subject: str, item: dict[str, Any]) -> None:
    """Else one sample of 1970 and one of now are 56 years above a threshold."""

    def back(days: float) -> RawMessage:
        return raw(1, subject, {**item, "ts": at(1 - days * 86_400).strftime("%Y-%m-%dT%H:%M:%SZ")})

    (kept,) = decode(back(31))
    assert isinstance(kept, Event)
    old = refused(back(32))
    assert (old.code, "more than 31 days, 0:00:00 before its arrival" in old.letter.reason) == ("time", True)
    assert refused(back(3), past=timedelta(days=2)).code == "time"
    assert refused(raw(1, subject, {**item, "ts": "1970-01-01T00:00:00Z"})).code == "time"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([*LogMessage.model_fields, *MetricSample.model_fields, "other"])


@given(
    subject=st.sampled_from([LOGS, METRICS, "ops.command", "ops.device", "logs.ingested", "x"]),
    body=st.binary(max_size=64) | JSON.map(json.dumps) | st.dictionaries(KEYS, JSON, max_size=12).map(json.dumps),
)
def test_whatever_comes_every_item_is_an_event_or_a_dead_letter(subject: str, body: bytes | str) -> None:
    items = decode(raw(5, subject, body))
    assert items
    for item in items:
        if isinstance(item, Refused):
            assert item.letter.reason
            item.letter.to_json()
        else:
            assert item.pos[0] == 5
            item.body.model_dump_json()
