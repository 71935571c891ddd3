"""Incidents: pages of them, one with all its revisions, and the latest of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from api.context import Reader, Row

AS_OF: Final = """
SELECT toUnixTimestamp64Micro(max(published_at)) AS as_of
FROM incidents
"""

# Keys first, without bodies: the latest revision of each as it was at as_of, filtered, after the cursor.
PAGE: Final = """
SELECT ship_id, incident_id, latest.1 AS revision, toUnixTimestamp64Micro(latest.5) AS updated
FROM (
    SELECT ship_id, incident_id,
           argMax((revision, status, severity, incident_type, updated_at, scope_device_ids), (revision, precedence))
               AS latest
    FROM incidents
    WHERE published_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')
      AND ({ship:String} = '' OR ship_id = {ship:String})
    GROUP BY ship_id, incident_id
)
WHERE (empty({statuses:Array(String)}) OR has({statuses:Array(String)}, latest.2))
  AND (empty({severities:Array(String)}) OR has({severities:Array(String)}, latest.3))
  AND ({type:String} = '' OR latest.4 = {type:String})
  AND ({device:String} = '' OR has(latest.6, {device:String}))
  AND (updated < {after_updated:Int64} OR (updated = {after_updated:Int64} AND incident_id > {after_id:String}))
ORDER BY updated DESC, incident_id
LIMIT {limit:UInt32}
"""

BODIES: Final = """
SELECT incident_id, revision, body
FROM incidents
WHERE ship_id IN {ships:Array(String)} AND incident_id IN {ids:Array(String)} AND revision IN {revisions:Array(UInt32)}
ORDER BY incident_id, revision, precedence DESC
LIMIT 1 BY incident_id, revision
"""

LATEST: Final = """
SELECT incident_id, body
FROM incidents
WHERE incident_id IN {ids:Array(String)}
ORDER BY incident_id, revision DESC, precedence DESC
LIMIT 1 BY incident_id
"""

REVISIONS: Final = """
SELECT revision, event, status, severity, title, assignee, anomaly_count, duplicate_count, updated_at, published_at
FROM incidents
WHERE incident_id = {id:String}
ORDER BY revision DESC, precedence DESC
LIMIT 1 BY revision
LIMIT 1000
"""

INSIGHTS: Final = """
SELECT incident_id, request_id, version, published_at, body
FROM (
    SELECT incident_id, request_id, version, published_at, body
    FROM insights
    WHERE incident_id IN {ids:Array(String)}
    ORDER BY precedence DESC
    LIMIT 1 BY request_id, version
)
ORDER BY published_at DESC, version DESC, request_id
LIMIT 200
"""

# Larger than any time in microseconds: the first page begins after it.
BEFORE_ALL: Final = 2**62


@dataclass(frozen=True)
class PageKey:
    """Where a page begins: the archive as it was at as_of, after (updated, incident_id)."""

    as_of: int
    updated: int = BEFORE_ALL
    incident_id: str = ""


@dataclass(frozen=True)
class IncidentFilter:
    """Which incidents; empty means any."""

    statuses: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    type: str = ""
    ship: str = ""
    device: str = ""


def as_of(reader: Reader) -> int:
    """When the newest archived revision was published (microseconds since 1970)."""
    return int(reader.query(AS_OF, {})[0]["as_of"])


def page(reader: Reader, which: IncidentFilter, key: PageKey, limit: int) -> list[Row]:
    """Keys of at most limit incidents: ship_id, incident_id, revision, updated."""
    parameters = {
        "statuses": list(which.statuses),
        "severities": list(which.severities),
        "type": which.type,
        "ship": which.ship,
        "device": which.device,
        "as_of": key.as_of,
        "after_updated": key.updated,
        "after_id": key.incident_id,
        "limit": limit,
    }
    return reader.query(PAGE, parameters)


def bodies(reader: Reader, keys: Sequence[Row]) -> list[str]:
    """The incidents of these keys as published, in the order of the keys."""
    if not keys:
        return []
    parameters = {
        "ships": sorted({row["ship_id"] for row in keys}),
        "ids": [row["incident_id"] for row in keys],
        "revisions": sorted({row["revision"] for row in keys}),
    }
    found = {(row["incident_id"], row["revision"]): row["body"] for row in reader.query(BODIES, parameters)}
    wanted = ((row["incident_id"], row["revision"]) for row in keys)
    # Retention may remove a row between the two queries.
    return [found[key] for key in wanted if key in found]


def latest(reader: Reader, ids: Sequence[str]) -> dict[str, str]:
    """The latest revision of each of these incidents as published, by id."""
    if not ids:
        return {}
    return {row["incident_id"]: row["body"] for row in reader.query(LATEST, {"ids": list(ids)})}


def revisions(reader: Reader, incident_id: str) -> list[Row]:
    """What each revision said, the latest first, at most 1000."""
    return reader.query(REVISIONS, {"id": incident_id})


def insights(reader: Reader, ids: Sequence[str]) -> list[Row]:
    """The explanations of these incidents, the newest first, at most 200."""
    return reader.query(INSIGHTS, {"ids": list(ids)}) if ids else []
