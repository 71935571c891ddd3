-- Where each row stands in the stream (sequence, then index in the message: rows.arrival_of) becomes the last part of
-- its key: an event that is sent again with the tracking_id, device and time of an earlier one no longer replaces it at
-- a merge, while a row that is written twice still collapses into one. Readers take the first arrival. A key may only
-- be lengthened by a new column, so this touches no data: rows of before have 0.
ALTER TABLE {database}.logs
    ADD COLUMN IF NOT EXISTS arrival UInt64 CODEC(Delta, ZSTD(1)),
    MODIFY ORDER BY (ship_id, device_id, service, ts, tracking_id, arrival);

ALTER TABLE {database}.samples
    ADD COLUMN IF NOT EXISTS arrival UInt64 CODEC(Delta, ZSTD(1)),
    MODIFY ORDER BY (ship_id, device_id, service, metric_name, ts, tracking_id, arrival);
