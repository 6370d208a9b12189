-- Leader epochs of the log: with them, a log that was cut off and has grown again is noticed (KIP-320).

ALTER TABLE partition_owner ADD COLUMN decided_leader_epoch integer NOT NULL DEFAULT -1;
COMMENT ON COLUMN partition_owner.decided_leader_epoch IS
    'Leader epoch of the record before the decided offset; -1: not known.';

ALTER TABLE partition_epoch ADD COLUMN cut_off bigint CHECK (cut_off >= 0);
COMMENT ON COLUMN partition_epoch.cut_off IS
    'The take-over found that the log had lost its records from this offset on; only then may a barrier go back.';
