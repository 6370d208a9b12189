"""Delta tables of the lake: a port, the real ones (delta-rs), and one in memory."""
