-- Verdicts on transactions, also on those that never alerted, each from the moment it was known.

ALTER TABLE alert_feedback
    ALTER COLUMN alert_id DROP NOT NULL,
    ADD COLUMN transaction_id text        CHECK (transaction_id <> ''),
    ADD COLUMN user_id        bigint      CHECK (user_id >= 0),
    ADD COLUMN merchant_id    text,
    ADD COLUMN event_time     timestamptz,
    ADD COLUMN origin         text        NOT NULL DEFAULT 'analyst'
                              CHECK (origin IN ('analyst', 'chargeback', 'simulated')),
    ADD COLUMN known_at       timestamptz,
    ADD COLUMN import_key     uuid;
COMMENT ON TABLE alert_feedback IS
    'Verdicts. With an alert_id: on that alert, and its transaction; without: on a transaction and all its alerts.';
COMMENT ON COLUMN alert_feedback.transaction_id IS
    'With user_id the judged transaction. NULL where the alert stands for a group of them (pattern_findings).';
COMMENT ON COLUMN alert_feedback.merchant_id IS 'Of the transaction; from its alert if there is one.';
COMMENT ON COLUMN alert_feedback.known_at IS
    'From when on the verdict may be used, whole milliseconds; given_at unless an import names an earlier moment.';
COMMENT ON COLUMN alert_feedback.import_key IS 'Identity of an imported row: the same row is stored once.';

-- A pattern's alert has its members in the details, and is about all of them.
CREATE FUNCTION is_of_one_transaction(details jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN NOT details ? 'members';

ALTER TABLE alert_feedback DISABLE TRIGGER append_only;
UPDATE alert_feedback SET known_at = date_trunc('milliseconds', given_at);
UPDATE alert_feedback AS given SET transaction_id = alert.transaction_id, user_id = alert.user_id,
    merchant_id = alert.details->'transaction'->>'merchant_id', event_time = alert.event_time
FROM fraud_alerts AS alert WHERE alert.alert_id = given.alert_id AND is_of_one_transaction(alert.details);
ALTER TABLE alert_feedback ENABLE ALWAYS TRIGGER append_only;

ALTER TABLE alert_feedback
    ALTER COLUMN known_at SET NOT NULL,
    ADD CHECK ((transaction_id IS NULL) = (user_id IS NULL)),
    ADD CONSTRAINT alert_feedback_is_about_something CHECK (alert_id IS NOT NULL OR transaction_id IS NOT NULL),
    ADD CONSTRAINT alert_feedback_import_key UNIQUE (import_key);
CREATE INDEX alert_feedback_by_transaction ON alert_feedback (user_id, transaction_id, known_at, feedback_id);
CREATE INDEX alert_feedback_by_known_at ON alert_feedback (known_at, feedback_id);

CREATE FUNCTION describe_feedback() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    alert fraud_alerts;
BEGIN
    IF NEW.alert_id IS NOT NULL THEN
        SELECT * INTO alert FROM fraud_alerts WHERE alert_id = NEW.alert_id;
        NEW.transaction_id := NULL;
        NEW.user_id := NULL;
        IF is_of_one_transaction(alert.details) THEN
            NEW.transaction_id := alert.transaction_id;
            NEW.user_id := alert.user_id;
        END IF;
        NEW.merchant_id := alert.details->'transaction'->>'merchant_id';
        NEW.event_time := alert.event_time;
    ELSIF NEW.merchant_id IS NULL OR NEW.event_time IS NULL THEN
        SELECT * INTO alert FROM fraud_alerts
            WHERE user_id = NEW.user_id AND transaction_id = NEW.transaction_id AND is_of_one_transaction(details)
            ORDER BY alert_id LIMIT 1;
        NEW.merchant_id := coalesce(NEW.merchant_id, alert.details->'transaction'->>'merchant_id');
        NEW.event_time := coalesce(NEW.event_time, alert.event_time);
    END IF;
    NEW.known_at := date_trunc('milliseconds', coalesce(NEW.known_at, NEW.given_at));
    IF NEW.known_at > clock_timestamp() THEN
        RAISE EXCEPTION 'known_at: % is later than now', NEW.known_at USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER describe BEFORE INSERT ON alert_feedback
    FOR EACH ROW EXECUTE FUNCTION describe_feedback();

-- What fraud_alerts.feedback mirrors: of all that was ever known of the alert or its transaction, the newest.
CREATE FUNCTION verdict_of(alert fraud_alerts) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT verdict FROM (
        SELECT verdict, known_at, feedback_id FROM alert_feedback WHERE alert_id = alert.alert_id
        UNION ALL
        SELECT verdict, known_at, feedback_id FROM alert_feedback
        WHERE user_id = alert.user_id AND transaction_id = alert.transaction_id AND alert_id IS NULL
            AND is_of_one_transaction(alert.details)
    ) AS given
    ORDER BY known_at DESC, feedback_id DESC LIMIT 1
$$;
COMMENT ON COLUMN fraud_alerts.feedback IS
    'Mirrors what of alert_feedback was known last about the alert or its transaction.';

-- The locks come first, in one order: of two verdicts given at once both see the one that counts.
CREATE OR REPLACE FUNCTION mirror_feedback() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    judged bigint[];
BEGIN
    IF NEW.alert_id IS NOT NULL THEN
        judged := ARRAY[NEW.alert_id];
    ELSE
        SELECT array_agg(alert_id) INTO judged FROM fraud_alerts
            WHERE user_id = NEW.user_id AND transaction_id = NEW.transaction_id AND is_of_one_transaction(details);
    END IF;
    IF judged IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM fraud_alerts WHERE alert_id = ANY (judged) ORDER BY alert_id FOR NO KEY UPDATE;
    UPDATE fraud_alerts AS alert SET feedback = verdict_of(alert)
        WHERE alert_id = ANY (judged) AND feedback IS DISTINCT FROM verdict_of(alert);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION record_direct_feedback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF verdict_of(NEW) IS DISTINCT FROM NEW.feedback THEN
        INSERT INTO alert_feedback (alert_id, verdict, note) VALUES (NEW.alert_id, NEW.feedback, 'direct update');
    END IF;
    RETURN NULL;
END
$$;

-- An alert of a transaction that was judged before it. It takes no lock: of an alert and a verdict that commit in
-- the same moment neither may see the other, and then only this column lacks what alert_feedback has.
CREATE FUNCTION mirror_earlier_feedback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF is_of_one_transaction(NEW.details) THEN
        SELECT verdict INTO NEW.feedback FROM alert_feedback
            WHERE user_id = NEW.user_id AND transaction_id = NEW.transaction_id AND alert_id IS NULL
            ORDER BY known_at DESC, feedback_id DESC LIMIT 1;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER mirror_earlier BEFORE INSERT ON fraud_alerts
    FOR EACH ROW WHEN (NEW.feedback IS NULL) EXECUTE FUNCTION mirror_earlier_feedback();
