"""PostgreSQL: ownership and timeline of partitions, alerts, verdicts, the model registry.

`port` (with `registry` and `queries`) holds the protocols; `memory*` and `postgres*` implement them.
"""
