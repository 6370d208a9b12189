-- What a version alerted since it went live is asked for by the time of storing: the times of records may be
-- those of a history that is replayed. Rows lie in that order already, so the index is a few pages.
CREATE INDEX fraud_alerts_by_stored_time ON fraud_alerts
    USING brin (timestamp) WITH (pages_per_range = 32, autosummarize = on);
