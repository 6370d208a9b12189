"""Findings of pattern rules: a port, the real store in PostgreSQL, and one in memory."""
