"""Pattern rules over the lake: from tables to columns, and from findings to alerts."""
