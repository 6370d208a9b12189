"""Imported history as the log that it would have been: the features of its records."""
