"""The record of the cold path's runs: a port, the real one in PostgreSQL, and one in memory."""
