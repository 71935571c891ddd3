"""What was held back, what was merged or muted, and what people did: for why, and for ids cut short."""

from collections.abc import Sequence
from typing import Final

from api.context import Reader, Row

MAX_GROUPS: Final = 100
MAX_RELATED: Final = 20
MAX_AUDIT: Final = 100

# Four halves, since one condition with OR could not use the index; a record found twice counts once.
HELD: Final = """
SELECT kind, held_by, about, any(ship_id) AS ship, toInt64(uniqExact(record_id)) AS records, min(at) AS first_at,
       max(at) AS last_at, max(until_at) AS until_at, argMax(why, (at, record_id)) AS reason,
       toInt64(count() OVER ()) AS found
FROM (
    SELECT kind, `by` AS held_by, coalesce(incident_id, '') AS about, ship_id, record_id, ts AS at, `until` AS until_at,
           reason AS why
    FROM suppressions
    WHERE tracking_id = {tracking:String}
    UNION ALL
    SELECT kind, `by` AS held_by, coalesce(incident_id, '') AS about, ship_id, record_id, ts AS at, `until` AS until_at,
           reason AS why
    FROM suppressions
    WHERE anomaly_id IN {anomalies:Array(String)}
    UNION ALL
    SELECT kind, `by` AS held_by, coalesce(incident_id, '') AS about, ship_id, record_id, ts AS at, `until` AS until_at,
           reason AS why
    FROM suppressions
    WHERE incident_id IN {incidents:Array(String)}
    UNION ALL
    SELECT kind, `by` AS held_by, coalesce(incident_id, '') AS about, ship_id, record_id, ts AS at, `until` AS until_at,
           reason AS why
    FROM suppressions
    WHERE kind IN ('silence', 'maintenance') AND `by` = {by:String}
)
GROUP BY kind, held_by, about
ORDER BY last_at DESC, kind, held_by, about
LIMIT {limit:UInt32}
"""

# The first time that people were told of each: its first revision that was open or acknowledged.
TOLD: Final = """
SELECT incident_id, min(published_at) AS told_at
FROM incidents
WHERE incident_id IN {ids:Array(String)} AND status IN ('open', 'ack')
GROUP BY incident_id
"""

RELATED: Final = """
SELECT incident_id, latest.1 AS title, latest.2 AS merged_into, latest.3 AS inhibited_by, latest.4 AS at
FROM (
    SELECT incident_id, argMax((title, merged_into, inhibited_by, updated_at), (revision, precedence)) AS latest
    FROM incidents
    WHERE ship_id = {ship:String}
      AND incident_id IN (
          SELECT incident_id FROM incidents
          WHERE ship_id = {ship:String} AND (merged_into = {id:String} OR inhibited_by = {id:String})
      )
    GROUP BY incident_id
)
WHERE merged_into = {id:String} OR inhibited_by = {id:String}
ORDER BY at, incident_id
LIMIT {limit:UInt32}
"""

AUDIT: Final = """
SELECT command_id, action, actor, outcome, why AS reason, at, ship_id, incident_id, silence_id, until_text
FROM (
    SELECT audit_id, command_id, action, `by` AS actor, outcome, reason AS why, ts AS at, ship_id, incident_id,
           if(action = 'silence', command_id, JSONExtractString(body, 'silence_id')) AS silence_id,
           JSONExtractString(body, 'until') AS until_text
    FROM audit
    WHERE incident_id = {id:String} OR command_id = {id:String} OR JSONExtractString(body, 'silence_id') = {id:String}
    LIMIT 1 BY audit_id
)
ORDER BY at DESC, audit_id
LIMIT {limit:UInt32}
"""

BEGINNING: Final = """
SELECT kind, id, ship_id, status, title
FROM (
    SELECT 'incident' AS kind, incident_id AS id, ship_id, argMax(status, (revision, precedence)) AS status,
           argMax(title, (revision, precedence)) AS title, max(published_at) AS at
    FROM incidents
    WHERE startsWith(incident_id, {beginning:String}) AND ({ship:String} = '' OR ship_id = {ship:String})
    GROUP BY ship_id, incident_id
    UNION ALL
    SELECT 'silence' AS kind, command_id AS id, ship_id, '' AS status, argMax(reason, ts) AS title,
           max(published_at) AS at
    FROM audit
    WHERE action = 'silence' AND outcome = 'applied' AND startsWith(command_id, {beginning:String})
      AND ({ship:String} = '' OR ship_id = {ship:String})
    GROUP BY ship_id, id
    UNION ALL
    SELECT 'command' AS kind, command_id AS id, ship_id, argMax(outcome, ts) AS status, argMax(reason, ts) AS title,
           max(published_at) AS at
    FROM audit
    WHERE NOT (action = 'silence' AND outcome = 'applied') AND startsWith(command_id, {beginning:String})
      AND ({ship:String} = '' OR ship_id = {ship:String})
    GROUP BY ship_id, id
    UNION ALL
    SELECT 'anomaly' AS kind, anomaly_id AS id, ship_id, any(state) AS status, any(msg) AS title,
           max(published_at) AS at
    FROM anomalies
    WHERE startsWith(anomaly_id, {beginning:String}) AND ({ship:String} = '' OR ship_id = {ship:String})
    GROUP BY ship_id, id
)
WHERE {kind:String} = '' OR kind = {kind:String}
ORDER BY at DESC, kind, id
LIMIT {limit:UInt32}
"""


def held(
    reader: Reader,
    *,
    tracking: str = "",
    anomalies: Sequence[str] = (),
    incidents: Sequence[str] = (),
    by: str = "",
) -> tuple[list[Row], int]:
    """What was held back of an event, of anomalies or incidents, or by a silence or window; and how many were left out.

    Rows, the oldest first, of kind, held_by, about (the incident, or ''), ship, records, first_at, last_at,
    until_at and reason (the last one): one for each cause. The newest 100 of them.
    """
    rows = reader.query(
        HELD,
        {
            "tracking": tracking,
            "anomalies": list(anomalies),
            "incidents": list(incidents),
            "by": by,
            "limit": MAX_GROUPS,
        },
    )
    return rows[::-1], (rows[0]["found"] - len(rows) if rows else 0)


def told(reader: Reader, ids: Sequence[str]) -> dict[str, Row]:
    """When people were first told of these incidents (told_at), by id; those they were not told of are missing."""
    return {row["incident_id"]: row for row in reader.query(TOLD, {"ids": list(ids)})} if ids else {}


def related(reader: Reader, ship_id: str, incident_id: str) -> list[Row]:
    """At most 20 incidents that were merged into this one, or that it mutes."""
    return reader.query(RELATED, {"ship": ship_id, "id": incident_id, "limit": MAX_RELATED})


def audit(reader: Reader, any_id: str) -> list[Row]:
    """What became of commands about this incident or silence, or of the command of this id: the newest 100, in order.

    Rows of command_id, action, actor, outcome, reason, at, ship_id, incident_id, silence_id and
    until_text (ISO or '').
    """
    return reader.query(AUDIT, {"id": any_id, "limit": MAX_AUDIT})[::-1]


def beginning(reader: Reader, text: str, *, kind: str, ship: str, limit: int) -> list[Row]:
    """What has an id that begins so, the newest first: rows of kind, id, ship_id, status and title."""
    return reader.query(BEGINNING, {"beginning": text, "kind": kind, "ship": ship, "limit": limit})
