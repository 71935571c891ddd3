from operators.decode import DecodeLimits, Decoder
from schemas.anomaly import AnomalyDetected
from schemas.event import Event, RawMessage
from tests.support.make import at


def gap(first: int, last: int, seconds: float = 5.0) -> RawMessage:
    return RawMessage("TELEMETRY", 0xABC, first, at(seconds), "", b"", gap_last=last)


def bodies(raw: RawMessage) -> list[AnomalyDetected]:
    events = [each for each in Decoder("aurora", DecodeLimits()).decode(raw) if isinstance(each, Event)]
    assert [each.pos for each in events] == [(raw.sequence, 0), (raw.sequence, 1)]
    assert {each.at for each in events} == {raw.observed_at}
    return [each.body for each in events if isinstance(each.body, AnomalyDetected)]


def test_a_gap_fires_with_its_exact_range_and_is_over() -> None:
    fired, cleared = bodies(gap(3, 8))
    assert (fired.state, cleared.state) == ("firing", "cleared")
    assert fired.msg == (
        "messages 3 to 8 of stream TELEMETRY (6) were removed before they were read: what happened in them is not known"
    )
    assert cleared.msg == "reading went on with message 9 of stream TELEMETRY"
    assert (fired.anomaly_type, fired.incident_type, fired.count) == ("telemetry_gap", "telemetry_gap", 6)
    assert fired.source == cleared.source
    assert bodies(gap(3, 3))[0].msg.startswith("message 3 of stream TELEMETRY (1) was removed")


def test_noticed_again_when_more_is_gone_it_is_the_same_finding() -> None:
    assert [each.anomaly_id for each in bodies(gap(3, 8))] == [each.anomaly_id for each in bodies(gap(3, 90, 7.0))]
    assert not {each.anomaly_id for each in bodies(gap(3, 8))} & {each.anomaly_id for each in bodies(gap(4, 8))}
