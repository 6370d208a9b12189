"""What many transactions show together and none alone: pure functions over columns.

Each rule takes columns of a period and gives findings, the same ones whatever the order of the rows.
Parameters have units and stand in `settings`; thresholds never stand in code.
"""
