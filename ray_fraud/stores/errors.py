"""What can go wrong with an outside system, told apart by what the caller does next.

    StoreError
    ├── StoreUnavailable   try again: the same call may succeed later; a write may or may not have happened
    ├── SlowDown           try again, but later and less often: the system is alive and overloaded
    ├── StoreRefused       never will work: the request or the set-up is wrong
    │   ├── StoreDamaged   the stored content contradicts itself: use the next source of the recovery ladder
    │   └── RecordTooLarge   the topic takes smaller records only: look its limit up again and send less
    └── Fenced             a newer owner exists: stop and exit

All fields are positional arguments of the exception, so each survives pickling between processes.

Never: secrets, addresses with passwords, or the content of a transaction in a message.
"""

from datetime import timedelta


class StoreError(Exception):
    """Base of all; `store` names the system: `kafka`, `redis`, `postgres`, `lake`."""

    code = "store_error"

    def __init__(self, store: str, message: str) -> None:
        super().__init__(store, message)
        self.store = store
        self.message = message

    def __str__(self) -> str:
        return f"{self.store}: {self.message}"


class StoreUnavailable(StoreError):
    """Try again: not reachable, timed out, or in the middle of a fail-over.

    A write that raises this has an unknown result, so every write is one that may be repeated.
    """

    code = "store_unavailable"


class SlowDown(StoreError):
    """Try again after `retry_after`: the system answers, and asks for less."""

    code = "slow_down"

    def __init__(self, store: str, message: str, retry_after: timedelta) -> None:
        super().__init__(store, message)
        self.args = (store, message, retry_after)
        self.retry_after = retry_after


class StoreRefused(StoreError):
    """Never will work as it is: too large, not authorised, misconfigured."""

    code = "store_refused"


class StoreDamaged(StoreRefused):
    """What is stored contradicts itself (count, digest, checksum): it must not be used."""

    code = "store_damaged"


class RecordTooLarge(StoreRefused):
    """The record is over the limit of its topic, or of the client: cut it to the limit as it is now."""

    code = "record_too_large"


class Fenced(StoreError):
    """A newer owner exists: `stored_epoch` is not below `epoch`, which is the caller's."""

    code = "fenced"

    def __init__(self, store: str, epoch: int, stored_epoch: int) -> None:
        message = f"epoch {epoch} is fenced by epoch {stored_epoch}: another owner took over, stop this one"
        super().__init__(store, message)
        self.args = (store, epoch, stored_epoch)
        self.epoch = epoch
        self.stored_epoch = stored_epoch
