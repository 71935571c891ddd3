"""Reading the common item without the models gives what the models give, whatever comes."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.decode import DecodeLimits, Decoder, Refused
from operators.decode.quick import QuickReader
from schemas.event import Event, RawMessage
from schemas.telemetry import LogMessage, MetricSample
from tests.support.make import raw

QUICK, SLOW = Decoder("aurora", DecodeLimits()), Decoder("aurora", DecodeLimits(), quick=False)
SUBJECTS = (
    "metrics.ingested.system.srv-1",
    "metrics.ingested.system",
    "metrics.ingested.engine.srv-1",
    "metrics.ingested.",
    "logs.ingested.security.sshd",
    "logs.ingested.app",
    "logs.ingested.nowhere.sshd",
)
UUID = "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"
ANYTHING: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.none())
)
ANYTHING = ANYTHING | st.dictionaries(st.text(max_size=3), ANYTHING, max_size=2)


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Of five values four of the usual kind, and one that is anything (a union would weigh all kinds alike)."""
    return st.sampled_from([usual] * 4 + [ANYTHING]).flatmap(lambda each: each)


TIMES = st.sampled_from(
    [
        "2026-03-01T00:00:00Z",
        "2026-01-20T00:00:00Z",
        "2026-02-28T23:59:59.1Z",
        "2026-02-28T23:59:59.123Z",
        "2026-02-28T23:59:59.123456Z",
        "2026-02-28T23:59:59.123456789Z",
        "2026-02-28T23:59:60Z",
        "2026-02-28T24:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-02-28 23:00:00Z",
        "2026-02-28T23:00:00+02:00",
        "2026-02-28T23:00:00",
        "2026-W09-1T00:00:00Z",
        "20260228T230000Z",
        "٢٠٢٦-02-28T23:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-03-01T00:00:03Z",
        "2027-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-02-28T23:00:00Z\n",
        1772323199,
        1772323199.5,
    ]
)
NAMES = mostly(st.sampled_from(["node", "cpu_pct", "", "x" * 256, "x" * 257, "æ" * 256, "\x00", "ship 2"]))
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "ts": mostly(TIMES),
    "tracking_id": mostly(st.sampled_from([UUID, UUID.upper(), UUID[:-1], f"{UUID}\n", "x"])),
    "ship_id": NAMES,
    "domain": mostly(st.sampled_from(["app", "engine", ""])),
    "service": NAMES,
    "device_id": NAMES,
    "metric_name": NAMES,
    "metric_value": mostly(st.floats() | st.integers() | st.sampled_from([10**400, 2**53 + 1, -0.0, "12"])),
    "unit": mostly(st.sampled_from(["%", "x" * 32, "x" * 33])),
    "labels": mostly(st.dictionaries(st.text(max_size=2), st.text(max_size=2) | ANYTHING, max_size=3)),
    "level": mostly(st.sampled_from(["info", "WARNING", "İnfo", "loud"])),
    "msg": mostly(st.text(max_size=5)),
    "meta": ANYTHING,
    "schema_version": ANYTHING,
    "error_msg": ANYTHING,
    "observed_at": TIMES,
    "pid": ANYTHING,
}
GOOD = {
    "device_id": "srv-1",
    "service": "node",
    "metric_name": "cpu",
    "metric_value": 1.5,
    "msg": "hi",
    "level": "warn",
}
# few odd fields, for one that is bad hides what the others are
ODD = st.lists(st.sampled_from(sorted(FIELDS)), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
)
ITEMS = mostly(ODD.map(lambda odd: {**GOOD, **odd}))


def outcome(decoder: Decoder, message: RawMessage) -> list[tuple[Any, ...]]:
    """All that can be told of what was decoded, types included; as text, for a NaN in meta equals nothing."""
    out: list[tuple[Any, ...]] = []
    for item in decoder.decode(message):
        if isinstance(item, Refused):
            out.append((item.code, item.letter))
        else:
            body = item.body
            assert isinstance(body, (LogMessage, MetricSample))
            out.append((item.pos, item.at, type(body), repr(body), list(body.__dict__), body.to_json()))
            assert getattr(body.ts.tzinfo, "key", str(body.ts.tzinfo)) == "UTC"
    return out


@settings(max_examples=1000)
@given(st.sampled_from(SUBJECTS), st.lists(ITEMS, min_size=1, max_size=4))
def test_quick_and_slow_give_the_same(subject: str, items: list[Any]) -> None:
    message = raw(1000, subject, json.dumps(items).encode())
    assert outcome(QUICK, message) == outcome(SLOW, message)


@pytest.mark.parametrize(
    "ts", ["2026-02-28T23:00:00Z", "2026-02-28T23:00:00.123Z", "2026-02-28T23:00:00.123456Z", None]
)
@pytest.mark.parametrize("subject", ["metrics.ingested.system.srv-1", "logs.ingested.system.node"])
def test_the_common_item_is_read_without_the_models(subject: str, ts: str | None) -> None:
    item = GOOD | ({} if ts is None else {"ts": ts})
    reader, tokens = QuickReader("aurora", timedelta(days=31)), tuple(subject.partition(".ingested.")[2].split("."))
    message = raw(1000, subject, item)
    read = reader.samples if subject.startswith("metrics") else reader.lines
    (found,) = read(message, [item], tokens)
    (event,) = SLOW.decode(message)
    assert isinstance(event, Event)
    assert found == event.body
    assert found is not None
    assert found.model_copy(update={"service": "other"}).service == "other"
    assert type(found).model_validate_json(found.to_json()) == found


def test_it_remembers_a_bounded_number_of_names() -> None:
    reader = QuickReader("aurora", timedelta(days=31))
    for number in range(60_000):
        reader.samples(raw(1, SUBJECTS[0], b""), [GOOD | {"metric_name": f"m{number}"}], ("system", "srv-1"))
    assert len(reader._names) <= 50_000
