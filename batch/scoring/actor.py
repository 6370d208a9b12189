"""The Ray actor that does one scoring job: detached, so that it goes on without the one who asked for it.

It leaves some time after the job's end, when nobody asks any more. A job that is asked for once more is run
once more: whether there is anything left to do is for the table to say.

Never: work of its own (the job does it); two jobs at once.
"""

import logging
import threading
import time
from collections.abc import Callable

import msgspec
import ray

from batch.scoring.config import ScoreConfig
from batch.scoring.job import Progress, ScoreProgress, ScoreReport
from batch.scoring.plan import ScoreRefused, ScoreRequest
from batch.scoring.run import run_score
from ray_fraud.domain.model import ModelRefused
from ray_fraud.stores.connections import from_json
from ray_fraud.stores.errors import StoreError

logger = logging.getLogger(__name__)

LINGER_SECONDS = 60.0
"""After the end and the last question; then the process ends."""


class ScoreEnd(msgspec.Struct, frozen=True):
    """How a job ended."""

    report: ScoreReport | None
    error: str | None = None
    """Why it failed."""


class Begun(msgspec.Struct, frozen=True):
    """The answer to `begin`."""

    ticket: int
    parameters: str
    """Of the job that is under way: those asked for, unless another one of this name was first."""


def _leave() -> None:
    """Ends this actor's process."""
    ray.kill(ray.get_runtime_context().current_actor)


Run = Callable[[ScoreConfig, ScoreRequest, Progress], ScoreReport]


class ScoreActor:
    """Does jobs of one name in a thread; methods answer beside it. Ray does not restart it."""

    def __init__(
        self,
        config: bytes,
        run: Run = run_score,
        linger_seconds: float = LINGER_SECONDS,
        leave: Callable[[], None] = _leave,
    ) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._config = from_json(config, ScoreConfig)
        self._run = run
        self._linger_seconds = linger_seconds
        self._leave = leave
        self._changed = threading.Condition()
        self._ticket = 0
        self._running: ScoreRequest | None = None
        self._progress: ScoreProgress | None = None
        self._ends: dict[int, ScoreEnd] = {}
        self._asked = time.monotonic()

    def begin(self, packed: bytes) -> bytes:
        """Begins the job, unless one is under way; JSON of `Begun`."""
        request = from_json(packed, ScoreRequest)
        with self._changed:
            if self._running is None:
                self._ticket += 1
                self._running, self._progress = request, None
                arguments = (request, self._ticket)
                threading.Thread(target=self._work, args=arguments, name="score", daemon=True).start()
            return msgspec.json.encode(Begun(self._ticket, self._running.parameters))

    def result(self, ticket: int, timeout_seconds: float) -> bytes | None:
        """JSON of how the job ended; None if it has not within the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: ticket in self._ends, timeout_seconds)
            self._asked = time.monotonic()
            return msgspec.json.encode(self._ends[ticket]) if ticket in self._ends else None

    def progress(self) -> bytes | None:
        """JSON of how far the present job is; None before it has begun to score."""
        return None if self._progress is None else msgspec.json.encode(self._progress)

    def _work(self, request: ScoreRequest, ticket: int) -> None:
        end = self._done(request)
        with self._changed:
            self._running, self._asked = None, time.monotonic()
            self._ends[ticket] = end
            self._changed.notify_all()
        while (left := self._asked + self._linger_seconds - time.monotonic()) > 0:
            time.sleep(left)
        if self._ticket == ticket:
            self._leave()

    def _done(self, request: ScoreRequest) -> ScoreEnd:
        try:
            return ScoreEnd(self._run(self._config, request, self._tell))
        except (ScoreRefused, StoreError, ModelRefused) as error:
            return ScoreEnd(None, str(error))
        except Exception as error:
            # Whoever waits has to be told, whatever it was.
            logger.exception("job %s failed", request.job)
            return ScoreEnd(None, f"{type(error).__name__}: {error}")

    def _tell(self, progress: ScoreProgress) -> None:
        self._progress = progress
