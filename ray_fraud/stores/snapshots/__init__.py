"""Snapshots: whole partitions written to the lake now and then, the second rung of recovery."""
