"""The stack on one machine: Kafka, PostgreSQL, Valkey and a guarded Ray node, all in one data folder.

Never: ending or touching a process that is not recorded as this stack's own.
"""
