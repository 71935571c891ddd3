"""The queries of enrichment: one ship each, as of each ask's own time, by primary key, values bound.

_asked is the time (microseconds since 1970) as of which a row's thing was asked about; first and
last are the earliest and the latest of them, for the index. No joins: planning one costs 6 ms.
FINAL within a key range costs no more than counting; DISTINCT over _asked is a hundred times slower.
"""

from typing import Final

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
WEEK_US: Final = 7 * DAY_US


_INCIDENT_OF: Final = "concat(device_id, char(10), incident_type)"


def _asked(thing: str) -> str:
    return f"transform({thing}, {{things:Array(String)}}, {{ats:Array(Int64)}}, toInt64(0))"


def _time(name: str) -> str:
    return f"fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')"


SIMILAR: Final = f"""
SELECT
    family AS thing,
    countIf(us >= at - {HOUR_US}) AS hour,
    countIf(us >= at - {DAY_US}) AS day,
    countIf(us >= at - {WEEK_US}) AS week
FROM
(
    SELECT family, toUnixTimestamp64Micro(ts) AS us, {_asked("family")} AS at
    FROM similar FINAL
    WHERE ship_id = {{ship:String}} AND family IN {{things:Array(String)}}
        AND ts >= {_time("first")} - INTERVAL 7 DAY AND ts < {_time("last")}
)
WHERE us < at
GROUP BY family
"""  # noqa: S608 - put together from this file alone; values are bound

QUANTILES: Final = f"""
SELECT device_id AS thing, series,
    quantilesExactWeighted(0.5, 0.95)(sign(bucket) * pow(1.02, abs(bucket) - 40000), samples) AS quantiles
FROM series_values
WHERE ship_id = {{ship:String}} AND device_id IN {{things:Array(String)}}
    AND since > toDate({_time("last")} - INTERVAL 7 DAY) AND since <= toDate({_time("last")})
GROUP BY device_id, series
"""  # noqa: S608 - as above; all asks of a query are of one day

ERRORS: Final = f"""
SELECT device_id, service, sum(lines) AS logged
FROM error_hours
WHERE ship_id = {{ship:String}} AND hour >= toStartOfDay({_time("first")}) AND hour <= {_time("last")}
GROUP BY device_id, service
ORDER BY logged DESC
LIMIT 1000
"""  # noqa: S608 - as above; a ship is asked about as of one time a query, so first is last

INCIDENTS: Final = f"""
SELECT {_INCIDENT_OF} AS thing, incident_id AS id, status AS how, opened_at AS opened, updated_at AS ended,
    ifNull(merged_into, '') AS merged, ended_by AS who, reason AS why
FROM device_incidents
WHERE ship_id = {{ship:String}} AND device_id IN {{devices:Array(String)}}
    AND incident_type IN {{types:Array(String)}} AND updated_at < {_time("last")}
    AND toUnixTimestamp64Micro(updated_at) < {_asked(_INCIDENT_OF)}
ORDER BY updated_at DESC, precedence DESC
LIMIT 1 BY device_id, incident_type
"""  # noqa: S608 - as above

DEVICES: Final = """
SELECT device_id, last.1 AS device_type, last.2 AS vendor, last.3 AS model, last.4 AS location,
    last.5 AS criticality,
    argMax(
        tuple(told.device_type, told.vendor, told.model, told.location, told.criticality, told.removed),
        tuple(published_at, stream_seq)
    ) AS last
FROM devices AS told
WHERE ship_id = {ship:String}
GROUP BY device_id
HAVING NOT last.6
"""
