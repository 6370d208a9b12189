"""The lake folded like the log: features, hot rules again, scores, and the tables that owners look up in."""
