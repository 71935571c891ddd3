-- What was applied to this database, and when. One row a numbered file.
CREATE TABLE IF NOT EXISTS {database}.schema_version
(
    version    UInt32,
    name       String,
    applied_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
