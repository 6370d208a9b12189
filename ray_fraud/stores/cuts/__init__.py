"""The cut: the users, the offset and the timeline events of one moment of a partition, in Redis."""
