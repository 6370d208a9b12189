"""When the cold path runs, and what is remembered of it."""
