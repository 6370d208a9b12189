"""How long a lake on S3 is waited for.

Two clients speak to it: pyarrow writes and reads files, delta-rs the tables. Each repeats a request a few
times by itself before it gives up, which then is a `StoreUnavailable`.

Never: a wait without an end.
"""

from datetime import timedelta

import msgspec


class LakeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """With the defaults a call on a lake that accepts everything and says nothing ends within a minute, and
    an append, which looks what became of its commit, within two. Measured: files 33 to 39 s, tables 40 s."""

    connect: timedelta = timedelta(seconds=3)
    silence: timedelta = timedelta(seconds=5)
    """pyarrow: without a byte for so long an attempt has failed; whole seconds, some more once bytes went."""
    attempts: int = 3
    """pyarrow: of one request, with pauses of some seconds altogether."""
    request: timedelta = timedelta(seconds=20)
    """delta-rs: one attempt as a whole, its content included; a commit that falls silent has only one."""
    retry: timedelta = timedelta(seconds=30)
    """delta-rs: no new attempt after so long."""


PATIENT = LakeLimits()
