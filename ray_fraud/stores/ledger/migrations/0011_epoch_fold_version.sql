-- Which fold an owner had: one whose version the timeline does not have yet has decided nothing.

ALTER TABLE partition_epoch ADD COLUMN fold_version integer CHECK (fold_version > 0);
COMMENT ON COLUMN partition_epoch.fold_version IS 'Of the release that took over; null: an older one, not known.';
