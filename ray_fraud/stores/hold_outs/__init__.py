"""Hold-outs that decide promotions: a port, the real one in the lake, and one in memory."""
