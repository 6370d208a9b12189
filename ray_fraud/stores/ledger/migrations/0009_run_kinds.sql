-- Trainings are runs with a schedule of their own.

ALTER TABLE batch_runs ADD COLUMN kind text NOT NULL DEFAULT 'batch' CHECK (kind IN ('batch', 'training'));
COMMENT ON COLUMN batch_runs.cause IS 'schedule, request, catch-up, or verdicts that brought it forward.';
DROP INDEX batch_runs_by_start;
CREATE INDEX batch_runs_by_start ON batch_runs (kind, started_at);
