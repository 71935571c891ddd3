-- What people did, what could not be read, what there is on board, and the insight flow's cache.
CREATE TABLE IF NOT EXISTS {database}.audit
(
    audit_id     String,
    tracking_id  String,
    ship_id      LowCardinality(String),
    ts           DateTime64(6, 'UTC'),
    published_at DateTime64(6, 'UTC'),
    stream_seq   UInt64,
    command_id   String,
    action       LowCardinality(String),
    `by`         String,
    outcome      LowCardinality(String),
    reason       String,
    incident_id  Nullable(String),
    error_msg    Nullable(String),
    body         String CODEC(ZSTD(1)),
    INDEX command_id_bloom command_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (ship_id, ts, audit_id)
TTL toDateTime(published_at) + toIntervalDay({audit_days})
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- stream, sequence and index say where the input was; published_at is when it was declared dead.
CREATE TABLE IF NOT EXISTS {database}.dead_letters
(
    dead_letter_id String,
    ship_id        LowCardinality(String),
    stream         LowCardinality(String),
    sequence       UInt64,
    `index`        UInt32,
    subject        String,
    observed_at    DateTime64(6, 'UTC'),
    published_at   DateTime64(6, 'UTC'),
    stream_seq     UInt64,
    reason         String,
    size           UInt64,
    truncated      Bool,
    encoding       LowCardinality(String),
    payload        String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (ship_id, observed_at, dead_letter_id)
TTL toDateTime(published_at) + toIntervalDay({dead_letters_days})
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The last word on each device wins; a removed device stays as a row with removed = true. Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.devices
(
    ship_id      LowCardinality(String),
    device_id    String,
    device_type  String,
    vendor       String,
    model        String,
    location     String,
    criticality  LowCardinality(String),
    depends_on   Array(String),
    removed      Bool,
    published_at DateTime64(6, 'UTC'),
    stream_seq   UInt64
)
ENGINE = ReplacingMergeTree(published_at)
ORDER BY (ship_id, device_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Written by the insight flow alone. body is the answer (JSON); cache_key says incident type, severity and scope shape.
CREATE TABLE IF NOT EXISTS {database}.llm_cache
(
    cache_key     String,
    ship_id       LowCardinality(String),
    incident_type LowCardinality(String),
    severity      LowCardinality(String),
    scope_shape   String,
    model         String,
    prompt_hash   String,
    body          String CODEC(ZSTD(1)),
    created_at    DateTime64(6, 'UTC'),
    expires_at    DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(created_at)
ORDER BY (ship_id, cache_key)
TTL toDateTime(expires_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
