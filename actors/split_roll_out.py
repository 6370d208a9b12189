"""Following the registry's split: one deployment at a time, in a thread, beside whoever looks for its end.

    look → deploy (may take a minute) → finished, once: the split to propose to the partitions

Never: a wait longer than the caller allows; a second deployment before the first one has ended.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread

from ray_fraud.domain.split import RULES_ONLY, Split
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.ledger.registry import Registry

logger = logging.getLogger(__name__)


class SplitRollOut:
    """Driven by one thread; what it deploys with runs in another."""

    def __init__(self, registry: Registry, deploy: Callable[[Split], None]) -> None:
        """`deploy` returns when the scorer holds the split, or when partitions must do without it."""
        self._registry = registry
        self._deploy = deploy
        self._split = RULES_ONLY
        self._fingerprint: str | None = None
        self._deployment: Future[tuple[Split, str]] | None = None

    @property
    def split(self) -> Split:
        """What was deployed last; `RULES_ONLY` before the first."""
        return self._split

    @property
    def known(self) -> bool:
        """Whether the first deployment has ended."""
        return self._fingerprint is not None

    @property
    def under_way(self) -> bool:
        """A deployment whose end `finished` has not told yet."""
        return self._deployment is not None

    def look(self) -> None:
        """Begins to deploy what the registry says, if that is new and nothing is under way."""
        if self._deployment is not None:
            return
        try:
            fingerprint = self._registry.fingerprint()
            if fingerprint == self._fingerprint:
                return
            split = self._registry.current_split()
        except StoreError as error:
            logger.warning("supervisor: split not refreshed, again soon: %s", error)
            return
        deployment: Future[tuple[Split, str]] = Future()
        # A daemon: an end of the process does not wait for Serve.
        Thread(target=self._run, args=(deployment, split, fingerprint), name="deploying", daemon=True).start()
        self._deployment = deployment

    def finished(self, timeout_seconds: float = 0.0) -> Split | None:
        """The split whose deployment has ended since the last call, waiting so long for one under way.

        Raises:
            Exception: what `deploy` raised; the split counts as unknown, and the next look tries it again.
        """
        deployment = self._deployment
        if deployment is None or not wait([deployment], timeout_seconds).done:
            return None
        self._deployment = None
        self._split, self._fingerprint = deployment.result()
        logger.info("supervisor: split %s with %d arms", self._split.digest[:12], len(self._split.arms))
        return self._split

    def _run(self, deployment: "Future[tuple[Split, str]]", split: Split, fingerprint: str) -> None:
        try:
            self._deploy(split)
        except BaseException as error:  # noqa: BLE001 - `finished` raises it
            deployment.set_exception(error)
        else:
            deployment.set_result((split, fingerprint))
