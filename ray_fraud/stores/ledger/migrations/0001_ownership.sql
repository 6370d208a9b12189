-- Who owns a partition, its control timeline, and what happened to its log.

-- A partition is (cluster, topic id, number): a topic that is made again under its name is another one.
CREATE TABLE partition_owner (
    cluster_id     text        NOT NULL,
    topic_id       text        NOT NULL,
    partition      integer     NOT NULL CHECK (partition >= 0),
    epoch          bigint      NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    owner_token    text        NOT NULL DEFAULT '',
    barrier        bigint      CHECK (barrier >= 0),
    decided_offset bigint      CHECK (decided_offset >= 0),
    taken_at       timestamptz,
    PRIMARY KEY (cluster_id, topic_id, partition),
    CHECK (epoch = 0 OR (barrier IS NOT NULL AND taken_at IS NOT NULL AND owner_token <> ''))
) WITH (fillfactor = 50);  -- updated every second: room for versions on the same page
COMMENT ON TABLE partition_owner IS
    'Present owner of each partition. Fenced writes lock its row in share mode, a take-over exclusively.';
COMMENT ON COLUMN partition_owner.decided_offset IS 'Below it, all effects were acknowledged.';

CREATE TABLE partition_epoch (
    cluster_id  text        NOT NULL,
    topic_id    text        NOT NULL,
    partition   integer     NOT NULL,
    epoch       bigint      NOT NULL CHECK (epoch > 0),
    owner_token text        NOT NULL,
    barrier     bigint      NOT NULL CHECK (barrier >= 0),
    taken_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, topic_id, partition, epoch)
);
COMMENT ON TABLE partition_epoch IS
    'Every take-over. What an epoch decided at or above the barrier of a later one does not count.';

CREATE TABLE control_event (
    cluster_id  text        NOT NULL,
    topic_id    text        NOT NULL,
    partition   integer     NOT NULL,
    seq         integer     NOT NULL CHECK (seq > 0),
    from_offset bigint      NOT NULL CHECK (from_offset >= 0),
    kind        text        NOT NULL,
    digest      text        NOT NULL,
    reference   text        NOT NULL,
    epoch       bigint      NOT NULL,
    appended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, topic_id, partition, seq)
);
COMMENT ON TABLE control_event IS
    'What changes decisions without being a transaction; numbered 1, 2, 3 … within a partition.';

CREATE TABLE record_attempt (
    cluster_id   text    NOT NULL,
    topic_id     text    NOT NULL,
    partition    integer NOT NULL,
    kafka_offset bigint  NOT NULL,
    attempts     integer NOT NULL CHECK (attempts > 0),
    epoch        bigint  NOT NULL,
    PRIMARY KEY (cluster_id, topic_id, partition, kafka_offset)
);
COMMENT ON TABLE record_attempt IS
    'Epochs that tried an undecided record after an unclean start: finds the record that kills its process.';

CREATE TABLE data_gap (
    cluster_id  text        NOT NULL,
    topic_id    text        NOT NULL,
    partition   integer     NOT NULL,
    from_offset bigint      NOT NULL CHECK (from_offset >= 0),
    to_offset   bigint      NOT NULL,
    reason      text        NOT NULL,
    epoch       bigint      NOT NULL,
    declared_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, topic_id, partition, from_offset, to_offset),
    CHECK (to_offset > from_offset)
);
COMMENT ON TABLE data_gap IS 'Records lost before they were decided: from_offset <= offset < to_offset.';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON partition_epoch
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON control_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- ALWAYS: replication roles do not get around it.
ALTER TABLE partition_epoch ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE control_event ENABLE ALWAYS TRIGGER append_only;
