-- What enrichment asks of the past, kept small and in the order of the question. Derived: filled from the tables above
-- as they are written, and once from what they hold already. observed_at and published_at only say when a row may go.

-- One row a firing anomaly, by what makes it similar to others (operators.enrich.asks.family says the
-- same); rows that the archive wrote twice collapse.
CREATE TABLE IF NOT EXISTS {database}.similar
(
    ship_id      LowCardinality(String),
    family       String CODEC(ZSTD(1)),
    ts           DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    id           UInt64,
    published_at DateTime
)
ENGINE = ReplacingMergeTree
ORDER BY (ship_id, family, ts, id)
TTL published_at + toIntervalDay({anomalies_days})
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.similar_mv TO {database}.similar AS
SELECT
    ship_id,
    multiIf(
        ifNull(metric_name, '') != '', concat(anomaly_type, '|', assumeNotNull(metric_name), '|', ifNull(rule, '')),
        ifNull(rule, '') != '', concat(anomaly_type, '||', assumeNotNull(rule)),
        concat(anomaly_type, '||', series)
    ) AS family,
    ts,
    cityHash64(anomaly_id) AS id,
    toDateTime(published_at) AS published_at
FROM {database}.anomalies
WHERE stage = 'detected' AND state = 'firing';

TRUNCATE TABLE {database}.similar;

INSERT INTO {database}.similar
SELECT
    ship_id,
    multiIf(
        ifNull(metric_name, '') != '', concat(anomaly_type, '|', assumeNotNull(metric_name), '|', ifNull(rule, '')),
        ifNull(rule, '') != '', concat(anomaly_type, '||', assumeNotNull(rule)),
        concat(anomaly_type, '||', series)
    ) AS family,
    ts,
    cityHash64(anomaly_id) AS id,
    toDateTime(published_at) AS published_at
FROM {database}.anomalies
WHERE stage = 'detected' AND state = 'firing';

-- A sketch of each series' values every four hours (DDSketch: quantiles within 1 % of the value). Of an hour each, a
-- week of one series takes twice as long to merge, that of twenty series four times.
CREATE TABLE IF NOT EXISTS {database}.series_sketches
(
    ship_id     LowCardinality(String),
    series      String CODEC(ZSTD(1)),
    since       DateTime('UTC') CODEC(Delta, ZSTD(1)),
    sketch      AggregateFunction(quantilesDD(0.01, 0.5, 0.95), Float64) CODEC(ZSTD(1)),
    observed_at SimpleAggregateFunction(max, DateTime)
)
ENGINE = AggregatingMergeTree
ORDER BY (ship_id, series, since)
TTL observed_at + toIntervalDay(greatest(8, {samples_days}))
SETTINGS index_granularity = 64;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.series_sketches_mv TO {database}.series_sketches AS
SELECT
    ship_id,
    series,
    toStartOfInterval(ts, toIntervalHour(4)) AS since,
    quantilesDDState(0.01, 0.5, 0.95)(metric_value) AS sketch,
    max(toDateTime(samples.observed_at)) AS observed_at
FROM {database}.samples AS samples
GROUP BY ship_id, series, since;

TRUNCATE TABLE {database}.series_sketches;

INSERT INTO {database}.series_sketches
SELECT
    ship_id,
    series,
    toStartOfInterval(ts, toIntervalHour(4)) AS since,
    quantilesDDState(0.01, 0.5, 0.95)(metric_value) AS sketch,
    max(toDateTime(samples.observed_at)) AS observed_at
FROM {database}.samples AS samples
GROUP BY ship_id, series, since;

-- Error lines by who logged them, an hour; what the archive writes again after a crash is counted again.
CREATE TABLE IF NOT EXISTS {database}.error_hours
(
    ship_id     LowCardinality(String),
    hour        DateTime('UTC') CODEC(Delta, ZSTD(1)),
    device_id   LowCardinality(String),
    service     LowCardinality(String),
    lines       SimpleAggregateFunction(sum, UInt64),
    observed_at SimpleAggregateFunction(max, DateTime)
)
ENGINE = AggregatingMergeTree
ORDER BY (ship_id, hour, device_id, service)
TTL observed_at + toIntervalDay({logs_days})
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.error_hours_mv TO {database}.error_hours AS
SELECT
    ship_id,
    toStartOfHour(ts) AS hour,
    device_id,
    service,
    count() AS lines,
    max(toDateTime(logs.observed_at)) AS observed_at
FROM {database}.logs AS logs
WHERE level IN ('error', 'critical')
GROUP BY ship_id, hour, device_id, service;

TRUNCATE TABLE {database}.error_hours;

INSERT INTO {database}.error_hours
SELECT
    ship_id,
    toStartOfHour(ts) AS hour,
    device_id,
    service,
    count() AS lines,
    max(toDateTime(logs.observed_at)) AS observed_at
FROM {database}.logs AS logs
WHERE level IN ('error', 'critical')
GROUP BY ship_id, hour, device_id, service;

-- The ends of incidents by device and type, with the last entry of the timeline: by whom or what, and why.
-- One that was reopened has several.
CREATE TABLE IF NOT EXISTS {database}.device_incidents
(
    ship_id       LowCardinality(String),
    device_id     LowCardinality(String),
    incident_type LowCardinality(String),
    incident_id   String,
    revision      UInt32,
    status        LowCardinality(String),
    opened_at     DateTime64(6, 'UTC'),
    updated_at    DateTime64(6, 'UTC'),
    resolved_at   Nullable(DateTime64(6, 'UTC')),
    merged_into   Nullable(String),
    ended_by      String,
    reason        String,
    published_at  DateTime,
    precedence    UInt64
)
ENGINE = ReplacingMergeTree(precedence)
ORDER BY (ship_id, device_id, incident_type, incident_id, revision)
TTL published_at + toIntervalDay({incidents_days})
SETTINGS index_granularity = 256;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.device_incidents_mv TO {database}.device_incidents AS
SELECT
    ship_id,
    arrayJoin(arrayDistinct(scope_device_ids)) AS device_id,
    incident_type,
    incident_id,
    revision,
    status,
    opened_at,
    updated_at,
    resolved_at,
    merged_into,
    JSONExtractString(body, 'timeline', -1, 'by') AS ended_by,
    JSONExtractString(body, 'timeline', -1, 'reason') AS reason,
    toDateTime(incidents.published_at) AS published_at,
    toUInt64(9223372036854775807 - toUnixTimestamp64Micro(incidents.published_at)) AS precedence
FROM {database}.incidents AS incidents
WHERE status = 'resolved' OR merged_into IS NOT NULL;

TRUNCATE TABLE {database}.device_incidents;

INSERT INTO {database}.device_incidents
SELECT
    ship_id,
    arrayJoin(arrayDistinct(scope_device_ids)) AS device_id,
    incident_type,
    incident_id,
    revision,
    status,
    opened_at,
    updated_at,
    resolved_at,
    merged_into,
    JSONExtractString(body, 'timeline', -1, 'by') AS ended_by,
    JSONExtractString(body, 'timeline', -1, 'reason') AS reason,
    toDateTime(incidents.published_at) AS published_at,
    toUInt64(9223372036854775807 - toUnixTimestamp64Micro(incidents.published_at)) AS precedence
FROM {database}.incidents AS incidents
WHERE status = 'resolved' OR merged_into IS NOT NULL;
