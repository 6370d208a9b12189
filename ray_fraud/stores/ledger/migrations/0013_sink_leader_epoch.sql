-- The sink's progress stands with its leader epoch, too: a topic that was cut off and has grown again is noticed.

ALTER TABLE sink_progress ADD COLUMN leader_epoch integer NOT NULL DEFAULT -1;
COMMENT ON COLUMN sink_progress.leader_epoch IS
    'Leader epoch of the record before next_offset; -1: not known.';
