-- How often each value of a series was seen, a day: the buckets of a sketch as rows, in place of sketches as states.
-- Bucket b > 0 holds values around 1.02 ^ (b - 40000), -b the same below zero, 0 nothing but zero; so a value is known
-- within 1 %. The quantiles of a device's twenty series took 16 ms of CPU time from states, from rows they take 5. The
-- archive needs a third more CPU time for samples than without this table, with states it needed half as much again.
-- Rows go by the day of the event: a column for the day of arrival would cost the archive a twentieth.
CREATE TABLE IF NOT EXISTS {database}.series_values
(
    ship_id   LowCardinality(String),
    device_id LowCardinality(String),
    series    String,
    since     Date,
    bucket    Int32,
    samples   SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (ship_id, device_id, series, since, bucket)
TTL since + toIntervalDay(greatest(8, {samples_days}))
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.series_values_mv TO {database}.series_values AS
SELECT
    ship_id,
    device_id,
    series,
    toDate(ts) AS since,
    toInt32(
        sign(metric_value) * (40000 + round(log(greatest(least(abs(metric_value), 1e308), 1e-300)) / log(1.02)))
    ) AS bucket,
    toUInt64(1) AS samples
FROM {database}.samples
WHERE isFinite(metric_value);

TRUNCATE TABLE {database}.series_values;

INSERT INTO {database}.series_values
SELECT
    ship_id,
    device_id,
    series,
    toDate(ts) AS since,
    toInt32(
        sign(metric_value) * (40000 + round(log(greatest(least(abs(metric_value), 1e308), 1e-300)) / log(1.02)))
    ) AS bucket,
    count() AS samples
FROM {database}.samples
WHERE isFinite(metric_value)
GROUP BY ship_id, device_id, series, since, bucket;

DROP TABLE IF EXISTS {database}.series_sketches_mv SYNC;

DROP TABLE IF EXISTS {database}.series_sketches SYNC;
