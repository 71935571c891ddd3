-- What each detector that fired said (JSON, an array; DetectorVote of schemas/anomaly.py). Rows of before this column
-- have the empty text.
ALTER TABLE {database}.anomalies ADD COLUMN IF NOT EXISTS votes String CODEC(ZSTD(1)) AFTER context;
