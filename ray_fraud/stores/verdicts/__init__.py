"""Verdicts on transactions: a port, the real one in PostgreSQL, and one in memory."""
