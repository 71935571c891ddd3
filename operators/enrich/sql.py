"""The queries of enrichment: one ship each, as of each ask's own time, by primary key, values bound.

_asked is the time (microseconds since 1970) as of which a row's thing was asked about; first and
last are the earliest and the latest of them, for the index. No joins: planning one costs 6 ms.
FINAL within a key range costs no more than counting; DISTINCT over _asked is a hundred times slower.
"""

from typing import Final

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
WEEK_US: Final = 7 * DAY_US


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
SELECT series AS thing, quantilesDDMerge(0.01, 0.5, 0.95)(sketch) AS quantiles
FROM
(
    SELECT series, sketch, toInt64(toUnixTimestamp(hour)) * 1000000 AS us, {_asked("series")} AS at
    FROM series_hours
    WHERE ship_id = {{ship:String}} AND series IN {{things:Array(String)}}
        AND hour > {_time("first")} - INTERVAL 7 DAY AND hour <= {_time("last")}
)
WHERE us <= at AND us > at - {WEEK_US}
GROUP BY series
"""  # noqa: S608 - as above

ERRORS: Final = f"""
SELECT device_id, service, sum(lines) AS logged
FROM error_hours
WHERE ship_id = {{ship:String}} AND hour >= toStartOfDay({_time("first")}) AND hour <= {_time("last")}
GROUP BY device_id, service
ORDER BY logged DESC
LIMIT 1000
"""  # noqa: S608 - as above; a ship is asked about as of one time a query, so first is last

INCIDENTS: Final = f"""
SELECT concat(device_id, char(10), incident_type) AS thing,
    argMax(tuple(incident_id, status, opened_at, updated_at, ifNull(merged_into, ''), ended_by, reason),
        tuple(us, precedence)) AS last,
    tupleElement(last, 1) AS id, tupleElement(last, 2) AS how, tupleElement(last, 3) AS opened,
    tupleElement(last, 4) AS ended, tupleElement(last, 5) AS merged, tupleElement(last, 6) AS who,
    tupleElement(last, 7) AS why
FROM
(
    SELECT *, toUnixTimestamp64Micro(updated_at) AS us, {_asked("concat(device_id, char(10), incident_type)")} AS at
    FROM device_incidents
    WHERE ship_id = {{ship:String}} AND device_id IN {{devices:Array(String)}}
        AND incident_type IN {{types:Array(String)}} AND updated_at < {_time("last")}
)
WHERE us < at
GROUP BY device_id, incident_type
"""  # noqa: S608 - as above

DEVICES: Final = """
SELECT device_id AS thing, last.1 AS device_type, last.2 AS vendor, last.3 AS model, last.4 AS location,
    last.5 AS criticality
FROM
(
    SELECT device_id,
        argMax(
            tuple(device_type, vendor, model, location, criticality, removed), tuple(published_at, stream_seq)
        ) AS last
    FROM devices
    WHERE ship_id = {ship:String} AND device_id IN {things:Array(String)}
    GROUP BY device_id
)
WHERE NOT last.6
"""
