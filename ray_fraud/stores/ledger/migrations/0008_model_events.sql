-- Who changed what of the model registry, when and why; nothing of it can be changed afterwards.

CREATE TABLE model_event (
    event_id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot           text        NOT NULL REFERENCES scoring_slot,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    action         text        NOT NULL CHECK (action IN
                   ('registered', 'testing', 'promoted', 'rolled_back', 'split', 'retired', 'refused', 'direct')),
    actor          text        NOT NULL CHECK (actor <> ''),
    db_user        text        NOT NULL DEFAULT session_user,
    models         bigint[]    NOT NULL,
    production     bigint,
    split_before   text,
    split_after    text,
    reason         text        NOT NULL DEFAULT '',
    evidence       jsonb       NOT NULL DEFAULT '{}',
    transaction_id xid8        NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE model_event IS 'Every change of the model registry, in the same transaction as the change.';
COMMENT ON COLUMN model_event.actor IS 'Who did it by their own account; db_user is who was logged in.';
COMMENT ON COLUMN model_event.models IS 'The versions that the event is about, by id.';
COMMENT ON COLUMN model_event.production IS 'The production version afterwards.';
COMMENT ON COLUMN model_event.split_after IS 'Digest of the split, by which the control timelines name it.';
COMMENT ON COLUMN model_event.evidence IS 'The figures that decided, if a rule did.';
CREATE INDEX model_event_by_slot ON model_event (slot, event_id);
CREATE INDEX model_event_by_transaction ON model_event (transaction_id);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON model_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE model_event ENABLE ALWAYS TRIGGER append_only;

-- What is in production already is what a rollback may come back to.
INSERT INTO model_event (slot, at, action, actor, models, production, reason)
SELECT slot, coalesce(deployed_at, created_at), 'promoted', session_user, ARRAY[id], id, 'before there were events'
FROM model_registry WHERE status = 'production';

-- A change by hand is an event, too. Deferred: whoever writes one of their own does so in the same transaction.
CREATE FUNCTION record_direct_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed model_registry := coalesce(NEW, OLD);
BEGIN
    -- A repeated split updates rows to what they are.
    IF OLD IS DISTINCT FROM NEW AND NOT EXISTS (
        SELECT FROM model_event WHERE transaction_id = pg_current_xact_id() AND slot = changed.slot
            AND (action <> 'direct' OR changed.id = ANY (models))
    ) THEN
        INSERT INTO model_event (slot, action, actor, models, production, reason)
        SELECT changed.slot, 'direct', session_user, ARRAY[changed.id],
            (SELECT id FROM model_registry WHERE slot = changed.slot AND status = 'production'),
            lower(TG_OP) || ' by hand';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER record_direct_change AFTER INSERT OR UPDATE OR DELETE ON model_registry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION record_direct_change();
