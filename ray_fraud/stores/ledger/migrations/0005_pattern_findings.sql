-- What pattern rules found: one row per finding, its members beside it, one cold alert for each.

CREATE TABLE pattern_findings (
    finding_uid  uuid        PRIMARY KEY,
    rule_name    text        NOT NULL,
    subject      text        NOT NULL,
    window_start timestamptz NOT NULL,
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    severity     text        NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    reason       text        NOT NULL,
    alert_id     bigint      NOT NULL UNIQUE REFERENCES fraud_alerts,
    found_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (first_at <= last_at)
);
COMMENT ON COLUMN pattern_findings.finding_uid IS 'UUIDv5 of rule, window on the rule''s grid and subject.';
CREATE INDEX pattern_findings_by_time ON pattern_findings (found_at);

CREATE TABLE pattern_finding_members (
    rule_name      text    NOT NULL,
    cluster_id     text    NOT NULL,
    topic_id       text    NOT NULL,
    partition      integer NOT NULL,
    kafka_offset   bigint  NOT NULL,
    finding_uid    uuid    NOT NULL REFERENCES pattern_findings,
    transaction_id text    NOT NULL,
    user_id        bigint  NOT NULL,
    PRIMARY KEY (rule_name, cluster_id, topic_id, partition, kafka_offset)
);
COMMENT ON TABLE pattern_finding_members IS
    'A transaction belongs to one finding of a rule at most: a ring is found once, however many batches see it.';
CREATE INDEX pattern_finding_members_by_finding ON pattern_finding_members (finding_uid);
