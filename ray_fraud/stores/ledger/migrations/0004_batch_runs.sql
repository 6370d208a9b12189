-- The runs of the cold path: what people look at when they ask whether it works.

CREATE TABLE batch_runs (
    run_id     uuid        PRIMARY KEY,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    cause      text        NOT NULL,
    status     text        NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    report     jsonb,
    error      text,
    CHECK ((status = 'running') = (ended_at IS NULL)),
    CHECK ((status = 'failed') = (error IS NOT NULL))
);
COMMENT ON COLUMN batch_runs.cause IS 'schedule, request or catch-up.';
CREATE INDEX batch_runs_by_start ON batch_runs (started_at);
