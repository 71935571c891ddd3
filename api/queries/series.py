"""Metric series: their names, their points in a span of time, and the findings on them.

A series is stored by ship, device, service and metric; its name joins them by slashes, which the
names may contain too. So a query names every way to split it, which lets ClickHouse use its order,
and the series itself, which decides. Times are microseconds since 1970; since is in, until is not.
"""

from typing import Any, Final

from api.context import Reader, Row

MAX_FINDINGS: Final = 1000
MAX_SPLIT: Final = 24
"""A name of more parts than this is looked for without the help of the order."""

# Days of samples of one series are some hundred thousand rows.
KNOWN: Final = """
SELECT any(s.ship_id) AS ship_id, any(s.device_id) AS device_id, any(s.service) AS service,
       any(s.metric_name) AS metric_name, argMax(s.unit, s.ts) AS unit, min(s.ts) AS first_at, max(s.ts) AS last_at,
       toInt64(countIf(s.ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
                       AND s.ts < fromUnixTimestamp64Micro({until:Int64}, 'UTC'))) AS samples
FROM samples AS s
WHERE (empty({ships:Array(String)}) OR s.ship_id IN {ships:Array(String)})
  AND (empty({devices:Array(String)}) OR s.device_id IN {devices:Array(String)})
  AND (empty({services:Array(String)}) OR s.service IN {services:Array(String)})
  AND (empty({metrics:Array(String)}) OR s.metric_name IN {metrics:Array(String)})
  AND s.series = {series:String}
HAVING count() > 0
LIMIT 1
"""

KNOWN_BY_FINDING: Final = """
SELECT ship_id, device_id, service
FROM anomalies
WHERE (empty({ships:Array(String)}) OR ship_id IN {ships:Array(String)}) AND series = {series:String}
LIMIT 1
"""

# Rows of a part that has not been merged count once, and of samples with one id the first that arrived.
POINTS: Final = """
SELECT min(ts) AS at, avg(metric_value) AS mean, min(metric_value) AS lowest, max(metric_value) AS highest,
       toInt64(count()) AS samples
FROM (
    SELECT ts, metric_value
    FROM samples
    WHERE (empty({ships:Array(String)}) OR ship_id IN {ships:Array(String)})
      AND (empty({devices:Array(String)}) OR device_id IN {devices:Array(String)})
      AND (empty({services:Array(String)}) OR service IN {services:Array(String)})
      AND (empty({metrics:Array(String)}) OR metric_name IN {metrics:Array(String)})
      AND series = {series:String}
      AND ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND ts < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    ORDER BY observed_at, stream_seq, stream_index
    LIMIT 1 BY ts, tracking_id
)
GROUP BY intDiv(toUnixTimestamp64Micro(ts) - {since:Int64}, {width:Int64})
ORDER BY at
LIMIT {points:UInt32}
"""

# What fired before the span and was the last word of its detector and rule then, and what is in the span.
FINDINGS: Final = """
SELECT anomaly_id, state, detector, rule, ts, since, score, expected, lower, upper, msg,
       toInt64(count() OVER ()) AS found
FROM (
    SELECT anomaly_id, state, detector, rule, ts, since, score, expected, lower, upper, msg, pos_sequence, pos_index
    FROM anomalies
    WHERE (empty({ships:Array(String)}) OR ship_id IN {ships:Array(String)}) AND series = {series:String}
      AND ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND ts < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    LIMIT 1 BY anomaly_id
    UNION ALL
    SELECT *
    FROM (
        SELECT anomaly_id, state, detector, rule, ts, since, score, expected, lower, upper, msg,
               pos_sequence, pos_index
        FROM anomalies
        WHERE (empty({ships:Array(String)}) OR ship_id IN {ships:Array(String)}) AND series = {series:String}
          AND ts < fromUnixTimestamp64Micro({since:Int64}, 'UTC')
        ORDER BY ts DESC, pos_sequence DESC, pos_index DESC
        LIMIT 1 BY detector, rule
    )
    WHERE state = 'firing'
)
ORDER BY ts DESC, pos_sequence DESC, pos_index DESC, anomaly_id
LIMIT {most:UInt32}
"""

NAMES: Final = """
SELECT series, any(s.ship_id) AS ship_id, any(s.device_id) AS device_id, any(s.service) AS service,
       any(s.metric_name) AS metric_name, argMax(s.unit, s.ts) AS unit, max(s.ts) AS last_at
FROM samples AS s
WHERE ({ship:String} = '' OR s.ship_id = {ship:String})
  AND ({like:String} = '' OR positionCaseInsensitiveUTF8(s.series, {like:String}) > 0)
GROUP BY series
ORDER BY endsWith(series, {like:String}) DESC, series
LIMIT {limit:UInt32}
"""

Parameters = dict[str, Any]


def names(reader: Reader, *, like: str, ship: str, limit: int) -> list[Row]:
    """Series that contain a text, those that end with it first."""
    return reader.query(NAMES, {"like": like, "ship": ship, "limit": limit})


def known(reader: Reader, series: str, since: int, until: int) -> Row | None:
    """Whose series it is, its unit, its first and last sample, and how many samples the span has."""
    rows = reader.query(KNOWN, {**_place(series), "since": since, "until": until})
    return rows[0] if rows else None


def known_by_finding(reader: Reader, series: str) -> Row | None:
    """Whose series it is, by the findings on it."""
    rows = reader.query(KNOWN_BY_FINDING, _place(series))
    return rows[0] if rows else None


def points(reader: Reader, series: str, since: int, until: int, most: int, *, raw: bool) -> list[Row]:
    """At most so many points: rows of at, mean, lowest, highest and samples, in the order of time.

    raw: one a time of sampling (they fit); else the span is cut into equal buckets.
    """
    width = 1 if raw else max(1, -(-(until - since) // most))
    return reader.query(POINTS, {**_place(series), "since": since, "until": until, "width": width, "points": most})


def findings(reader: Reader, series: str, since: int, until: int) -> tuple[list[Row], int]:
    """The newest findings of the span in the order of time, and how many older ones were left out."""
    parameters = {**_place(series), "since": since, "until": until, "most": MAX_FINDINGS}
    rows = reader.query(FINDINGS, parameters)
    return rows[::-1], (rows[0]["found"] - len(rows) if rows else 0)


def _place(series: str) -> Parameters:
    """The series, and every ship, device, service and metric that its name may be made of (none: any).

    >>> _place("a/b/c/d{e=f}")["metrics"]
    ['d', 'd{e=f}']
    """
    parameters: Parameters = {"series": series, "ships": [], "devices": [], "services": [], "metrics": []}
    bodies = [series]
    if series.endswith("}"):
        bodies += [series[:place] for place, char in enumerate(series) if char == "{"]
    if len(bodies) > MAX_SPLIT or any(body.count("/") >= MAX_SPLIT for body in bodies):
        return parameters
    found: dict[str, set[str]] = {"ships": set(), "devices": set(), "services": set(), "metrics": set()}
    for parts in (body.split("/") for body in bodies):
        last = len(parts)
        found["ships"] |= {"/".join(parts[:end]) for end in range(1, last - 2)}
        found["devices"] |= {"/".join(parts[a:b]) for a in range(1, last - 2) for b in range(a + 1, last - 1)}
        found["services"] |= {"/".join(parts[a:b]) for a in range(2, last - 1) for b in range(a + 1, last)}
        found["metrics"] |= {"/".join(parts[a:]) for a in range(3, last)}
    return parameters | {name: sorted(values) for name, values in found.items()}
