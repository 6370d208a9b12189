"""The low priority of batch processes: on few cores the hot path goes first.

Never: a change of a process that is not the batch's own.
"""

import os
import shlex
import sys
from typing import Any

NICENESS = 19
"""The lowest there is; with it comes Linux' scheduling class for idle times (`SCHED_IDLE`, sched(7)).

A batch then takes what the hot path leaves, and a thread of the hot path that wakes up takes a core from it
at once, where niceness alone lets a thread have its slice first."""
VARIABLE = "RAY_FRAUD_BATCH_NICENESS"
"""Environment variable of the platform's start with another niceness: 0 (as the hot path) to 19."""


def low_priority_env() -> dict[str, Any]:
    """A Ray runtime environment whose processes begin with low priority.

    Raises:
        ValueError: the environment's niceness is not 0 to 19.
    """
    text = os.environ.get(VARIABLE, str(NICENESS))
    if not text.isdecimal() or int(text) > NICENESS:
        raise ValueError(f"{VARIABLE}: {text!r}, must be a whole number from 0 to {NICENESS}")
    return _env(int(text)) if int(text) else {}


def _env(niceness: int) -> dict[str, Any]:
    """An environment whose processes begin with that niceness.

    From their first instruction: importing what a batch needs costs seconds of a core, each time. Ray gives
    such processes to no other work, so the priority never falls upon an owner of a partition.

    Linux may share cores among sessions first, and a niceness counts only within one (sched(7), autogroup
    feature). There the process gets a session of its own, and the session the niceness.
    """
    # Tried first: a sandbox may refuse the class.
    idle = "$(chrt --idle 0 true 2>/dev/null && echo chrt --idle 0) " if niceness == NICENESS else ""
    python = f"exec {idle}nice -n {niceness} {shlex.quote(sys.executable)}"
    own = f'{{ echo {niceness} > /proc/self/autogroup; }} 2>/dev/null; {python} "$@"'
    session = "[ -w /proc/self/autogroup ] && command -v setsid >/dev/null"
    start = f'if {session}; then exec setsid sh -c {shlex.quote(own)} sh "$@"; fi; {python} "$@"'
    return {"py_executable": f"sh -c {shlex.quote(start)} sh"}
