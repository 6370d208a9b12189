"""Candidates into tests and into production, and production back out of it, by rules."""
