-- Alerts, the analysts' verdicts on them, and the progress of the sink that repairs them from the topic.

CREATE TABLE fraud_alerts (
    alert_id        bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_uid       uuid             NOT NULL UNIQUE,
    transaction_id  text             NOT NULL,
    user_id         bigint           NOT NULL,
    reason          text             NOT NULL,
    timestamp       timestamptz      NOT NULL DEFAULT clock_timestamp(),
    details         jsonb            NOT NULL,
    lat             double precision,
    lon             double precision,
    feedback        text             CHECK (feedback IN ('true_fraud', 'false_positive')),
    rule_name       text             NOT NULL,
    severity        text             NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    score           double precision,
    model_version   text,
    source          text             NOT NULL CHECK (source IN ('hot', 'cold')),
    event_time      timestamptz      NOT NULL,
    schema_version  integer          NOT NULL,
    cluster_id      text             NOT NULL,
    topic_id        text             NOT NULL,
    topic_partition integer          NOT NULL,
    kafka_offset    bigint           NOT NULL,
    record_time     timestamptz(3)   NOT NULL,
    epoch           bigint           NOT NULL
);
COMMENT ON COLUMN fraud_alerts.alert_uid IS 'The alert''s identity: the same however often it is decided.';
COMMENT ON COLUMN fraud_alerts.timestamp IS 'When the alert was stored.';
COMMENT ON COLUMN fraud_alerts.event_time IS 'When the transaction happened, by its own account.';
COMMENT ON COLUMN fraud_alerts.record_time IS 'Kafka timestamp of the transaction: latency counts from it.';
COMMENT ON COLUMN fraud_alerts.feedback IS 'Mirrors the newest row of alert_feedback.';
COMMENT ON COLUMN fraud_alerts.epoch IS 'Epoch of the owner that decided it.';
CREATE INDEX fraud_alerts_by_user ON fraud_alerts (user_id, alert_id);
CREATE INDEX fraud_alerts_by_record_time ON fraud_alerts (record_time);

CREATE TABLE sink_progress (
    cluster_id  text        NOT NULL,
    topic_id    text        NOT NULL,
    partition   integer     NOT NULL,
    next_offset bigint      NOT NULL CHECK (next_offset >= 0),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, topic_id, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE sink_progress IS 'How far the sink has read each partition of topic fraud_alerts.';

-- Tells listeners which alerts became durable. A notice holds less than 8,000 bytes, an id at most 19 digits.
CREATE FUNCTION notify_alerts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('fraud_alerts', string_agg(alert_id::text, ',' ORDER BY alert_id))
    FROM (SELECT alert_id, (row_number() OVER (ORDER BY alert_id) - 1) / 350 AS part FROM stored) AS parts
    GROUP BY part ORDER BY part;
    RETURN NULL;
END
$$;

-- A cold alert that the hot path decides, too, is news.
CREATE FUNCTION notify_promoted_alerts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('fraud_alerts', alert_id::text)
    FROM stored JOIN former USING (alert_id)
    WHERE former.source = 'cold' AND stored.source = 'hot';
    RETURN NULL;
END
$$;

CREATE TRIGGER notify_inserted AFTER INSERT ON fraud_alerts
    REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION notify_alerts();
CREATE TRIGGER notify_promoted AFTER UPDATE ON fraud_alerts
    REFERENCING OLD TABLE AS former NEW TABLE AS stored
    FOR EACH STATEMENT EXECUTE FUNCTION notify_promoted_alerts();

CREATE TABLE alert_feedback (
    feedback_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id    bigint      NOT NULL REFERENCES fraud_alerts,
    verdict     text        CHECK (verdict IN ('true_fraud', 'false_positive')),
    reviewer    text        NOT NULL DEFAULT session_user,
    note        text        NOT NULL DEFAULT '',
    db_user     text        NOT NULL DEFAULT session_user,
    given_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN alert_feedback.verdict IS 'NULL: an earlier verdict was taken back.';
CREATE INDEX alert_feedback_by_alert ON alert_feedback (alert_id, feedback_id);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON alert_feedback
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE alert_feedback ENABLE ALWAYS TRIGGER append_only;

-- The lock comes first: of two verdicts given at once, the one with the higher number wins in both places.
CREATE FUNCTION mirror_feedback() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest text;
BEGIN
    PERFORM 1 FROM fraud_alerts WHERE alert_id = NEW.alert_id FOR NO KEY UPDATE;
    SELECT verdict INTO newest FROM alert_feedback
        WHERE alert_id = NEW.alert_id ORDER BY feedback_id DESC LIMIT 1;
    UPDATE fraud_alerts SET feedback = newest
        WHERE alert_id = NEW.alert_id AND feedback IS DISTINCT FROM newest;
    RETURN NULL;
END
$$;
CREATE TRIGGER mirror AFTER INSERT ON alert_feedback
    FOR EACH ROW EXECUTE FUNCTION mirror_feedback();

-- A verdict written straight into fraud_alerts becomes a feedback row; one that mirrors a row already does not.
CREATE FUNCTION record_direct_feedback() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest text;
BEGIN
    SELECT verdict INTO newest FROM alert_feedback
        WHERE alert_id = NEW.alert_id ORDER BY feedback_id DESC LIMIT 1;
    IF newest IS DISTINCT FROM NEW.feedback THEN
        INSERT INTO alert_feedback (alert_id, verdict, note) VALUES (NEW.alert_id, NEW.feedback, 'direct update');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER record_updated_feedback AFTER UPDATE OF feedback ON fraud_alerts
    FOR EACH ROW WHEN (OLD.feedback IS DISTINCT FROM NEW.feedback) EXECUTE FUNCTION record_direct_feedback();
CREATE TRIGGER record_inserted_feedback AFTER INSERT ON fraud_alerts
    FOR EACH ROW WHEN (NEW.feedback IS NOT NULL) EXECUTE FUNCTION record_direct_feedback();
