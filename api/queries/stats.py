"""Counts. Each incident counts once, by its latest revision; a row written twice counts once.

An incident belongs to a window when it was opened before the window's end and is still open or
acknowledged, or was last changed in the window: so what began earlier and goes on is not forgotten.
Parameters of all: since, until (microseconds since 1970), ship, domain ('' means any).
"""

from typing import Final

from api.context import Reader, Row

INCIDENTS: Final = """
SELECT latest.1 AS status, latest.2 AS severity, latest.3 AS domain, latest.4 AS incident_type,
       toInt64(count()) AS incidents
FROM (
    SELECT argMax((status, severity, domain, incident_type, opened_at, updated_at), (revision, precedence)) AS latest
    FROM incidents
    WHERE ({ship:String} = '' OR ship_id = {ship:String})
    GROUP BY ship_id, incident_id
)
WHERE latest.5 < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
  AND (latest.1 IN ('open', 'ack') OR latest.6 >= fromUnixTimestamp64Micro({since:Int64}, 'UTC'))
  AND ({domain:String} = '' OR latest.3 = {domain:String})
GROUP BY status, severity, domain, incident_type
ORDER BY incidents DESC, incident_type, severity, status, domain
LIMIT 10000
"""

HELD_BY_KIND: Final = """
SELECT kind, toInt64(uniqExact(record_id)) AS held
FROM suppressions
WHERE ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND ts < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
  AND ({ship:String} = '' OR ship_id = {ship:String})
  AND ({domain:String} = ''
       OR anomaly_id IN (SELECT anomaly_id FROM anomalies WHERE domain = {domain:String})
       OR incident_id IN (SELECT incident_id FROM incidents WHERE domain = {domain:String}))
GROUP BY kind
ORDER BY held DESC, kind
LIMIT 100
"""

TOP_DUPLICATES: Final = """
SELECT ship_id, fingerprint, toInt64(uniqExact(record_id)) AS count, argMax(incident_id, ts) AS incident_id,
       argMax(reason, ts) AS reason, max(ts) AS last_at
FROM suppressions
WHERE kind = 'duplicate'
  AND ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND ts < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
  AND ({ship:String} = '' OR ship_id = {ship:String})
  AND ({domain:String} = ''
       OR anomaly_id IN (SELECT anomaly_id FROM anomalies WHERE domain = {domain:String})
       OR suppressions.incident_id IN (SELECT incident_id FROM incidents WHERE domain = {domain:String}))
GROUP BY ship_id, fingerprint
ORDER BY count DESC, ship_id, fingerprint
LIMIT {top:UInt32}
"""

TOP_SUPPRESSIONS: Final = """
SELECT ship_id, kind, any(`by`) AS `by`, argMax(reason, ts) AS reason, max(`until`) AS `until`,
       coalesce(suppress_key, fingerprint) AS key, toInt64(uniqExact(record_id)) AS count, max(ts) AS last_at
FROM suppressions
WHERE kind != 'duplicate'
  AND ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND ts < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
  AND ({ship:String} = '' OR ship_id = {ship:String})
  AND ({domain:String} = ''
       OR anomaly_id IN (SELECT anomaly_id FROM anomalies WHERE domain = {domain:String})
       OR incident_id IN (SELECT incident_id FROM incidents WHERE domain = {domain:String}))
GROUP BY ship_id, kind, key
ORDER BY count DESC, ship_id, kind, key
LIMIT {top:UInt32}
"""

FINDINGS: Final = """
SELECT toInt64(uniqExact(anomaly_id)) AS findings
FROM anomalies
WHERE state = 'firing'
  AND observed_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
  AND observed_at < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
  AND ({ship:String} = '' OR ship_id = {ship:String})
  AND ({domain:String} = '' OR domain = {domain:String})
"""

Parameters = dict[str, object]


def incident_counts(reader: Reader, parameters: Parameters) -> list[Row]:
    """Rows of status, severity, domain, incident_type and the number of incidents."""
    return reader.query(INCIDENTS, parameters)


def held_by_kind(reader: Reader, parameters: Parameters) -> dict[str, int]:
    """How many findings were held back, by kind."""
    return {row["kind"]: row["held"] for row in reader.query(HELD_BY_KIND, parameters)}


def top_duplicates(reader: Reader, parameters: Parameters, top: int) -> list[Row]:
    """The fingerprints that repeated most."""
    return reader.query(TOP_DUPLICATES, {**parameters, "top": top})


def top_suppressions(reader: Reader, parameters: Parameters, top: int) -> list[Row]:
    """What was held back most for another reason than repetition."""
    return reader.query(TOP_SUPPRESSIONS, {**parameters, "top": top})


def findings(reader: Reader, parameters: Parameters) -> int:
    """How many findings fired."""
    return int(reader.query(FINDINGS, parameters)[0]["findings"])
