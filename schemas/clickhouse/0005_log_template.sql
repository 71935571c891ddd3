-- The hash of each line's masked form (operators.mask.template_hash): the lines of one kind, which an anomaly of
-- templates or rates names in fields.template_hash. Rows of before this column have the empty text.
ALTER TABLE {database}.logs ADD COLUMN IF NOT EXISTS template LowCardinality(String) AFTER msg;

ALTER TABLE {database}.logs
    ADD INDEX IF NOT EXISTS template_bloom template TYPE bloom_filter(0.01) GRANULARITY 1;
