"""What batches write into PostgreSQL for people to look at: cold alerts of the hot rules, newest features."""
