"""`--workers`: how many processes share the work.

Never: more than there are cores, unless it is asked for.
"""


def default_workers() -> int:
    """One per core."""
    from batch.imports.run import default_workers as by_cores

    return by_cores()
