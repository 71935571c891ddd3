"""gap: messages that were gone before they could be read are a finding like any other."""

from collections.abc import Iterator
from typing import Final

from schemas.anomaly import AnomalyDetected
from schemas.base import Severity
from schemas.event import Event, RawMessage
from schemas.identity import content_uuid, event_uuid

INCIDENT_TYPE: Final = "telemetry_gap"
SERVICE: Final = "jetstream"
DETECTOR: Final = "sequence"


def gap_events(raw: RawMessage, ship_id: str) -> Iterator[Event]:
    """A gap as two events at its first missing sequence: it fires, and it is over (what follows is being read).

    Ids follow from that sequence alone: noticed again after a crash, when retention may have taken
    more, it is the same finding.
    """
    first, last = raw.sequence, raw.gap_last
    assert last is not None
    tracking_id = event_uuid(raw.identity, first, 0)
    count = last - first + 1
    which = f"message {first}" if count == 1 else f"messages {first} to {last}"
    msg = (
        f"{which} of stream {raw.stream} ({count}) {'was' if count == 1 else 'were'} removed before "
        f"{'it was' if count == 1 else 'they were'} read: what happened in them is not known"
    )
    said = {"firing": msg, "cleared": f"reading went on with message {last + 1} of stream {raw.stream}"}
    for index, state in enumerate(said):
        pos = (first, index)
        anomaly = AnomalyDetected(
            tracking_id=tracking_id,
            ship_id=ship_id,
            anomaly_id=content_uuid("gap", str(raw.identity), str(first), state),
            pos=pos,
            ts=raw.observed_at,
            observed_at=raw.observed_at,
            state=state,
            anomaly_type="telemetry_gap",
            detector=DETECTOR,
            domain="system",
            service=SERVICE,
            device_id=raw.stream,
            series=f"{ship_id}/{raw.stream}/{SERVICE}/gap",
            incident_type=INCIDENT_TYPE,
            severity_hint=Severity.HIGH,
            score=1.0 if state == "firing" else 0.0,
            count=count,
            evidence_ids=(tracking_id,),
            msg=said[state],
        )
        yield Event(pos, raw.observed_at, anomaly)
