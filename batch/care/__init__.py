"""The care of the lake: smaller and fewer files, corrections, deletions on request."""
