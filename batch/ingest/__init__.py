"""From the log to the Delta table `transactions`: every accepted offset exactly once."""
