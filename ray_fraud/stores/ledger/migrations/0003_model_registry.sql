-- Model versions and the traffic split of each scoring slot.

CREATE TABLE scoring_slot (
    slot        text PRIMARY KEY,
    salt        text NOT NULL,
    fingerprint uuid NOT NULL DEFAULT gen_random_uuid()
);
COMMENT ON COLUMN scoring_slot.salt IS 'Draws the users of each arm; a new salt is a new draw.';
COMMENT ON COLUMN scoring_slot.fingerprint IS 'Changes with every change of the slot or of its models.';
INSERT INTO scoring_slot (slot, salt) VALUES ('transaction', 'split-1');

CREATE TABLE model_status_transition (
    from_status text NOT NULL,
    to_status   text NOT NULL,
    PRIMARY KEY (from_status, to_status)
);
INSERT INTO model_status_transition VALUES
    ('training', 'testing'), ('training', 'production'), ('training', 'retired'),
    ('testing', 'production'), ('testing', 'retired'),
    ('production', 'testing'), ('production', 'retired'),
    ('retired', 'testing'), ('retired', 'production');

CREATE TABLE model_registry (
    id                 bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot               text             NOT NULL DEFAULT 'transaction' REFERENCES scoring_slot,
    model_name         text             NOT NULL,
    version            integer          NOT NULL CHECK (version > 0),
    model_path         text             NOT NULL,
    model_digest       text             NOT NULL,
    threshold          double precision NOT NULL,
    metrics            jsonb            NOT NULL DEFAULT '{}',
    status             text             NOT NULL DEFAULT 'training'
                       CHECK (status IN ('training', 'testing', 'production', 'retired')),
    created_at         timestamptz      NOT NULL DEFAULT now(),
    deployed_at        timestamptz,
    traffic_percentage numeric(5, 2)    NOT NULL DEFAULT 0 CHECK (traffic_percentage BETWEEN 0 AND 100),
    UNIQUE (slot, model_name, version),
    UNIQUE (slot, model_name, model_digest),
    CHECK (traffic_percentage = 0 OR status IN ('testing', 'production'))
);
COMMENT ON COLUMN model_registry.model_digest IS 'SHA-256 of the manifest, which names the model file by its own.';
COMMENT ON COLUMN model_registry.threshold IS 'A score above it is an alert.';
COMMENT ON COLUMN model_registry.deployed_at IS 'When it last began to receive traffic.';

CREATE FUNCTION check_model_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.status <> NEW.status AND NOT EXISTS (
        SELECT 1 FROM model_status_transition WHERE from_status = OLD.status AND to_status = NEW.status
    ) THEN
        RAISE EXCEPTION 'model %:% cannot go from % to %', NEW.model_name, NEW.version, OLD.status, NEW.status
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.status IN ('testing', 'production')
        AND (TG_OP = 'INSERT' OR OLD.status NOT IN ('testing', 'production')) THEN
        NEW.deployed_at := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER check_transition BEFORE INSERT OR UPDATE ON model_registry
    FOR EACH ROW EXECUTE FUNCTION check_model_transition();

-- Changing the slot's row also makes writers of one slot wait for each other, so the check below sees them all.
CREATE FUNCTION touch_slot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE scoring_slot SET fingerprint = gen_random_uuid() WHERE slot IN (OLD.slot, NEW.slot);
    RETURN NULL;
END
$$;
CREATE TRIGGER touch AFTER INSERT OR UPDATE OR DELETE ON model_registry
    FOR EACH ROW EXECUTE FUNCTION touch_slot();

CREATE FUNCTION check_split() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT slot, sum(traffic_percentage) AS total, count(*) FILTER (WHERE status = 'production') AS production
        FROM model_registry
        WHERE slot IN (OLD.slot, NEW.slot) AND status IN ('testing', 'production')
        GROUP BY slot
    LOOP
        IF found.production <> 1 OR found.total <> 100 THEN
            RAISE EXCEPTION
                'slot %: % production versions (must be 1), % %% of traffic in production and testing (must be 100)',
                found.slot, found.production, found.total
                USING ERRCODE = 'check_violation';
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
-- Deferred: a split changes several rows, and only the whole must be right.
CREATE CONSTRAINT TRIGGER check_split AFTER INSERT OR UPDATE OR DELETE ON model_registry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_split();
