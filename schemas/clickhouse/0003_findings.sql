-- What Watchkeeper found and said. body is the message as it was published (JSON); the columns are what queries need.
-- published_at is the JetStream time of the message, stream_seq its sequence.

-- stage: detected | enriched; severity, severity_reason and context are empty for detected.
CREATE TABLE IF NOT EXISTS {database}.anomalies
(
    anomaly_id      String,
    stage           LowCardinality(String),
    tracking_id     String,
    ship_id         LowCardinality(String),
    pos_sequence    UInt64,
    pos_index       Int32,
    ts              DateTime64(6, 'UTC'),
    observed_at     DateTime64(6, 'UTC'),
    published_at    DateTime64(6, 'UTC'),
    stream_seq      UInt64,
    state           LowCardinality(String),
    anomaly_type    LowCardinality(String),
    detector        LowCardinality(String),
    domain          LowCardinality(String),
    service         LowCardinality(String),
    device_id       LowCardinality(String),
    series          String,
    metric_name     Nullable(String),
    rule            Nullable(String),
    incident_type   Nullable(String),
    severity_hint   LowCardinality(String),
    severity        LowCardinality(String),
    severity_reason String,
    score           Float64,
    metric_value    Nullable(Float64),
    expected        Nullable(Float64),
    lower           Nullable(Float64),
    upper           Nullable(Float64),
    unit            Nullable(String),
    count           Int64,
    since           Nullable(DateTime64(6, 'UTC')),
    fields          String,
    fingerprint     String,
    context         String,
    evidence_ids    Array(String),
    msg             String,
    error_msg       Nullable(String),
    body            String CODEC(ZSTD(1)),
    INDEX anomaly_id_bloom anomaly_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX tracking_id_bloom tracking_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX evidence_ids_bloom evidence_ids TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(published_at)
ORDER BY (ship_id, device_id, service, detector, ts, anomaly_id, state, stage)
TTL toDateTime(published_at) + toIntervalDay({anomalies_days})
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

-- One row a revision. The first publication of an incident_id and revision wins (precedence).
CREATE TABLE IF NOT EXISTS {database}.incidents
(
    incident_id           String,
    revision              UInt32,
    event                 LowCardinality(String),
    tracking_id           String,
    ship_id               LowCardinality(String),
    published_at          DateTime64(6, 'UTC'),
    stream_seq            UInt64,
    incident_type         LowCardinality(String),
    severity              LowCardinality(String),
    status                LowCardinality(String),
    domain                LowCardinality(String),
    title                 String,
    corr_keys             String,
    suppress_key          String,
    fingerprint           String,
    scope_device_ids      Array(String),
    scope_services        Array(String),
    opened_at             DateTime64(6, 'UTC'),
    updated_at            DateTime64(6, 'UTC'),
    resolved_at           Nullable(DateTime64(6, 'UTC')),
    anomaly_count         Int64,
    duplicate_count       Int64,
    evidence_refs         Array(String),
    evidence_tracking_ids Array(String),
    evidence_dropped      Int64,
    runbook_refs          Array(String),
    assignee              Nullable(String),
    narrative             Nullable(String),
    merged_into           Nullable(String),
    successor_of          Nullable(String),
    inhibited_by          Nullable(String),
    error_msg             Nullable(String),
    body                  String CODEC(ZSTD(1)),
    precedence            UInt64 MATERIALIZED toUInt64(9223372036854775807 - toUnixTimestamp64Micro(published_at)),
    INDEX tracking_id_bloom tracking_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX evidence_refs_bloom evidence_refs TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX evidence_tracking_ids_bloom evidence_tracking_ids TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(published_at)
ORDER BY (ship_id, incident_id, revision)
TTL toDateTime(published_at) + toIntervalDay({incidents_days})
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- "until" is a word of SQL in places: quote it (`until`). "by" likewise.
CREATE TABLE IF NOT EXISTS {database}.suppressions
(
    record_id    String,
    tracking_id  String,
    ship_id      LowCardinality(String),
    ts           DateTime64(6, 'UTC'),
    published_at DateTime64(6, 'UTC'),
    stream_seq   UInt64,
    kind         LowCardinality(String),
    `by`         String,
    `until`      DateTime64(6, 'UTC'),
    reason       String,
    anomaly_id   Nullable(String),
    incident_id  Nullable(String),
    fingerprint  String,
    suppress_key Nullable(String),
    error_msg    Nullable(String),
    body         String CODEC(ZSTD(1)),
    INDEX tracking_id_bloom tracking_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(published_at)
ORDER BY (ship_id, kind, ts, record_id)
TTL toDateTime(published_at) + toIntervalDay({suppressions_days})
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- One row a version of an explanation (1 rules, 2 cache or llm); the first publication wins.
CREATE TABLE IF NOT EXISTS {database}.insights
(
    request_id    String,
    version       UInt32,
    incident_id   String,
    tracking_id   String,
    ship_id       LowCardinality(String),
    published_at  DateTime64(6, 'UTC'),
    stream_seq    UInt64,
    source        LowCardinality(String),
    narrative     String,
    confidence    Float64,
    runbook_refs  Array(String),
    evidence_refs Array(String),
    similar       Array(String),
    model         Nullable(String),
    prompt_hash   Nullable(String),
    latency_ms    Float64,
    tokens        Nullable(Int64),
    completed_at  DateTime64(6, 'UTC'),
    error_msg     Nullable(String),
    body          String CODEC(ZSTD(1)),
    precedence    UInt64 MATERIALIZED toUInt64(9223372036854775807 - toUnixTimestamp64Micro(published_at)),
    INDEX tracking_id_bloom tracking_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(published_at)
ORDER BY (ship_id, incident_id, request_id, version)
TTL toDateTime(published_at) + toIntervalDay({insights_days})
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
