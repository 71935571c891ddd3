"""What findings and incidents rest on: raw lines, samples, anomalies; and what rests on them."""

from collections.abc import Sequence
from typing import Final

from api.context import Reader, Row

MAX_ALSO_SENT: Final = 10

# LIMIT 1 BY instead of FINAL, so that the index on the ids is used. Anybody can send an id again: the first arrival is
# the event, by the stream's own clock and count and not by what the message says of itself; the time of arrival goes
# before the sequence, since a stream that was made anew counts from 1 again. The same contents sent twice are one.
LOGS: Final = """
SELECT tracking_id, ship_id, ts, observed_at, domain, service, device_id, level, msg, meta, error_msg
FROM (
    SELECT * FROM logs
    WHERE tracking_id IN {ids:Array(String)}
    ORDER BY observed_at, stream_seq, stream_index
    LIMIT 1 BY tracking_id, ship_id, domain, service, device_id, level, msg, meta
)
ORDER BY observed_at, stream_seq, stream_index
LIMIT {each:UInt32} BY tracking_id
LIMIT 1000
"""

SAMPLES: Final = """
SELECT tracking_id, ship_id, ts, observed_at, domain, service, device_id, metric_name, metric_value, unit, labels,
       error_msg
FROM (
    SELECT * FROM samples
    WHERE tracking_id IN {ids:Array(String)}
    ORDER BY observed_at, stream_seq, stream_index
    LIMIT 1 BY tracking_id, ship_id, series, domain, metric_value, unit
)
ORDER BY observed_at, stream_seq, stream_index
LIMIT {each:UInt32} BY tracking_id
LIMIT 1000
"""

ANOMALIES: Final = """
SELECT anomaly_id, stage, published_at, body
FROM anomalies
WHERE anomaly_id IN {ids:Array(String)}
ORDER BY published_at, anomaly_id, stage
LIMIT 1 BY anomaly_id, stage
LIMIT 1000
"""

# Two halves, since one condition with OR could not use the two indexes.
ANOMALIES_ON: Final = """
SELECT anomaly_id, stage, published_at, body
FROM (
    SELECT anomaly_id, stage, published_at, body FROM anomalies WHERE tracking_id = {id:String}
    UNION ALL
    SELECT anomaly_id, stage, published_at, body FROM anomalies WHERE has(evidence_ids, {id:String})
)
ORDER BY published_at, anomaly_id, stage
LIMIT 1 BY anomaly_id, stage
LIMIT 200
"""

INCIDENTS_ON: Final = """
SELECT incident_id, argMin(number, at) AS revision, min(at) AS published_at
FROM (
    SELECT incident_id, revision AS number, published_at AS at
    FROM incidents
    WHERE has(evidence_tracking_ids, {id:String})
    UNION ALL
    SELECT incident_id, revision AS number, published_at AS at
    FROM incidents
    WHERE hasAny(evidence_refs, {refs:Array(String)})
)
GROUP BY incident_id
ORDER BY published_at, incident_id
LIMIT 100
"""

HELD_BACK: Final = """
SELECT kind, reason, ts
FROM (
    SELECT kind, reason, ts, record_id FROM suppressions WHERE tracking_id = {id:String}
    UNION ALL
    SELECT kind, reason, ts, record_id FROM suppressions WHERE anomaly_id IN {refs:Array(String)}
)
ORDER BY ts, record_id
LIMIT 1
"""


def logs(reader: Reader, ids: Sequence[str], each: int = 1) -> list[Row]:
    """The log lines with these tracking ids by arrival: of each id the first, and up to `each` if others were sent."""
    return reader.query(LOGS, {"ids": list(ids), "each": each}) if ids else []


def samples(reader: Reader, ids: Sequence[str], each: int = 1) -> list[Row]:
    """The samples with these tracking ids, as logs does."""
    return reader.query(SAMPLES, {"ids": list(ids), "each": each}) if ids else []


def anomalies(reader: Reader, ids: Sequence[str]) -> list[Row]:
    """Both stages of the anomalies with these ids, the earliest published first."""
    return reader.query(ANOMALIES, {"ids": list(ids)}) if ids else []


def anomalies_on(reader: Reader, tracking_id: str) -> list[Row]:
    """Both stages of the anomalies that rest on this event, the earliest published first."""
    return reader.query(ANOMALIES_ON, {"id": tracking_id})


def incidents_on(reader: Reader, tracking_id: str, refs: Sequence[str]) -> list[Row]:
    """The incidents that rest on this event or these anomalies: the first revision that does, and when."""
    return reader.query(INCIDENTS_ON, {"id": tracking_id, "refs": list(refs)})


def held_back(reader: Reader, tracking_id: str, refs: Sequence[str]) -> Row | None:
    """Why this event or these anomalies were first held back, if they were."""
    rows = reader.query(HELD_BACK, {"id": tracking_id, "refs": list(refs)})
    return rows[0] if rows else None
