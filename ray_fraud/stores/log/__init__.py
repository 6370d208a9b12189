"""The log: partitions of records in Kafka, read by offset and appended to with acknowledgements."""
