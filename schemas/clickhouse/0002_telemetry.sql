-- What the ship's systems sent. A row's identity is its tracking_id; a row written twice collapses into one
-- (read with FINAL, or LIMIT 1 BY tracking_id). Days and retention go by arrival, since replayed telemetry may be old.
-- published_at equals observed_at; it is there so that every table can be read the same way.
CREATE TABLE IF NOT EXISTS {database}.logs
(
    tracking_id  String CODEC(ZSTD(1)),
    ship_id      LowCardinality(String),
    ts           DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    observed_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    published_at DateTime64(6, 'UTC') ALIAS observed_at,
    stream_seq   UInt64 CODEC(Delta, ZSTD(1)),
    stream_index UInt32,
    domain       LowCardinality(String),
    service      LowCardinality(String),
    device_id    LowCardinality(String),
    level        LowCardinality(String),
    msg          String CODEC(ZSTD(1)),
    meta         String CODEC(ZSTD(1)),
    error_msg    Nullable(String),
    INDEX tracking_id_bloom tracking_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(observed_at)
ORDER BY (ship_id, device_id, service, ts, tracking_id)
TTL toDateTime(observed_at) + toIntervalDay({logs_days})
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

-- series is schemas.telemetry.series_id of the sample, the same text as anomalies.series.
CREATE TABLE IF NOT EXISTS {database}.samples
(
    tracking_id  String CODEC(ZSTD(1)),
    ship_id      LowCardinality(String),
    ts           DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    observed_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    published_at DateTime64(6, 'UTC') ALIAS observed_at,
    stream_seq   UInt64 CODEC(Delta, ZSTD(1)),
    stream_index UInt32,
    domain       LowCardinality(String),
    service      LowCardinality(String),
    device_id    LowCardinality(String),
    metric_name  LowCardinality(String),
    metric_value Float64 CODEC(ZSTD(1)),
    unit         LowCardinality(String),
    labels       String CODEC(ZSTD(1)),
    series       String CODEC(ZSTD(1)),
    error_msg    Nullable(String),
    INDEX tracking_id_bloom tracking_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(observed_at)
ORDER BY (ship_id, device_id, service, metric_name, ts, tracking_id)
TTL toDateTime(observed_at) + toIntervalDay({samples_days})
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;
