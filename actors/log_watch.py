"""Looking at the input topic from outside of every reader, through a connection of its own.

The end that a stuck reader tells stands still, that of the brokers does not. One thread asks every few
seconds and keeps the newest answer, so that whoever wants it waits for nobody.

Never: reading a record; an answer that is older than it says.
"""

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.log.port import LogAdmin, TopicEnds

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
GIVEN_UP_SECONDS = 60.0
"""A look that takes longer hangs in the client: another thread with another client goes on."""


class Sight(msgspec.Struct, frozen=True):
    """What the newest look saw."""

    at: float
    """Monotonic seconds at its end."""
    topic: TopicEnds | None
    """None: the look failed."""
    error: str = ""


class LogWatch:
    """Looks at one topic until closed; a broker that does not answer only makes the sight old."""

    def __init__(
        self, connect: Callable[[], LogAdmin], topic: str, pause_seconds: float = LOOK_SECONDS
    ) -> None:
        self._pause = pause_seconds
        self._connect = connect
        self._topic = topic
        self._closed = threading.Event()
        self._began = time.monotonic()
        self._generation = 0
        self._sight: Sight | None = None
        self._start()

    def newest(self) -> Sight | None:
        """The last look that ended; None before the first. Replaces a thread that hangs."""
        sight = self._sight
        last = self._began if sight is None else max(self._began, sight.at)
        if time.monotonic() - last > GIVEN_UP_SECONDS and not self._closed.is_set():
            logger.error("log watch: no answer for %.0f s: asked by another client now", GIVEN_UP_SECONDS)
            self._start()
        return sight

    def close(self) -> None:
        """Ends the thread after the look that is under way; does not wait."""
        self._closed.set()

    def _start(self) -> None:
        self._began = time.monotonic()
        self._generation += 1
        # A daemon: it may hang in the client.
        threading.Thread(
            target=self._run, args=(self._generation,), name="watching the log", daemon=True
        ).start()

    def _run(self, generation: int) -> None:
        admin: LogAdmin | None = None
        while self._generation == generation and not self._closed.is_set():
            try:
                admin = admin or self._connect()
                sight = Sight(time.monotonic(), admin.ends(self._topic))
            except Exception as error:
                if not isinstance(error, StoreError):
                    logger.exception("log watch: unexpected; with a new client again soon")
                sight = Sight(time.monotonic(), None, str(error))
                _close(admin)
                admin = None
            if self._generation == generation:
                self._sight = sight
            self._closed.wait(self._pause)
        _close(admin)


def _close(admin: LogAdmin | None) -> None:
    try:
        if admin is not None:
            admin.close()
    except Exception:
        logger.exception("log watch: a client did not close")
