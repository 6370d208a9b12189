"""The scorer as its callers see it: one blocking call with a time limit.

Never: retries, fallbacks (see `serve.client`).
"""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from serve.answer import ScoreBytes, UnknownSplit

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle


class RemoteScorer(Protocol):
    """One call to a scorer elsewhere."""

    def call(
        self, digest: str, user_ids: bytes, features: bytes, content: bytes | None, timeout: timedelta
    ) -> ScoreBytes | UnknownSplit:
        """As `Scorer.score`; any exception means that there is no answer."""
        ...


class ServeScorer:
    """`RemoteScorer` over a Serve handle. Blocks the calling thread; never call it on an event loop."""

    def __init__(self, connect: Callable[[], "DeploymentHandle[Any]"]) -> None:
        """`connect` gives the handle; it is asked until a call was answered, as Serve may come up later."""
        self._connect = connect
        self._handle: DeploymentHandle[Any] | None = None

    def call(
        self, digest: str, user_ids: bytes, features: bytes, content: bytes | None, timeout: timedelta
    ) -> ScoreBytes | UnknownSplit:
        handle = self._handle or self._connect()
        response = handle.score.remote(digest, user_ids, features, content)
        try:
            answer: ScoreBytes | UnknownSplit = response.result(timeout_s=timeout.total_seconds())
        except TimeoutError:
            response.cancel()  # type: ignore[no-untyped-call]  # Ray leaves it without annotations
            raise
        self._handle = handle
        return answer
