"""Silences in force, from what became of the commands that made and ended them; and what they have held back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from api.context import Reader, Row
from api.params import micros

# One that was ended is left out by (ship, id): a command of another ship ends nothing here.
SILENCES: Final = """
SELECT silence_id, ship_id, owner, reason, created_at, expires_at, matchers
FROM (
    SELECT audit_id, command_id AS silence_id, ship_id, `by` AS owner, reason, ts AS created_at,
           parseDateTime64BestEffortOrNull(JSONExtractString(body, 'until'), 6, 'UTC') AS expires_at,
           JSONExtractRaw(body, 'matchers') AS matchers
    FROM audit
    WHERE action = 'silence' AND outcome = 'applied' AND ({ship:String} = '' OR ship_id = {ship:String})
    LIMIT 1 BY audit_id
)
WHERE (expires_at IS NULL OR expires_at > fromUnixTimestamp64Micro({now:Int64}, 'UTC'))
  AND (ship_id, silence_id) NOT IN (
      SELECT ship_id, JSONExtractString(body, 'silence_id') FROM audit
      WHERE action = 'unsilence' AND outcome = 'applied'
  )
ORDER BY expires_at NULLS LAST, silence_id
LIMIT {limit:UInt32}
"""

HITS: Final = """
SELECT `by` AS silence_id, toInt64(uniqExact(record_id)) AS hits, max(ts) AS last_hit_at
FROM suppressions
WHERE kind = 'silence' AND ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND `by` IN {ids:Array(String)}
GROUP BY silence_id
"""


def silences(reader: Reader, *, ship: str, now: datetime, limit: int) -> list[Row]:
    """The silences in force at an instant, the first to end first; expires_at is None where none is recorded.

    Rows of silence_id, ship_id, owner, reason (as the audit says it), created_at, expires_at and matchers (JSON).
    """
    return reader.query(SILENCES, {"ship": ship, "now": micros(now), "limit": limit})


def hits(reader: Reader, ids: Sequence[str], since: datetime) -> dict[str, Row]:
    """How often each of these silences has held something back (hits) and when last (last_hit_at), by id."""
    rows = reader.query(HITS, {"ids": list(ids), "since": micros(since)}) if ids else []
    return {row["silence_id"]: row for row in rows}
