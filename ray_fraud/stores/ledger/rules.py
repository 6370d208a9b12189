"""What may be written next: the rules of a take-over and of the control timeline.

Never: I/O; both implementations of the ledger ask here.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.errors import STORE, TimelineConflict


def check_confirm(is_open: bool, last_epoch: int, epoch: int, barrier: int) -> None:
    """Raises `StoreRefused` for a confirmation that must not be written."""
    if not is_open:
        raise StoreRefused(STORE, "confirm: the turn is over, take over again")
    if epoch <= last_epoch or barrier < 0:
        raise StoreRefused(
            STORE, f"confirm: epoch {epoch} must be above {last_epoch}, barrier {barrier} not below 0"
        )


def check_appended(last_seq: int, stored: Sequence[ControlEvent], event: ControlEvent) -> bool:
    """Whether `event` is the next one; False: it is there already.

    Args:
        last_seq: the highest stored number, 0 if none.
        stored: the event stored under the number of `event`, or nothing.

    Raises:
        TimelineConflict: the number holds another event, or numbers before it are missing.
    """
    if stored:
        if stored[0] != event:
            raise TimelineConflict(event.seq, f"stored is {_brief(stored[0])}, offered is {_brief(event)}")
        return False
    if event.seq != last_seq + 1:
        raise TimelineConflict(event.seq, f"the next number is {last_seq + 1}")
    return True


def check_restored(
    stored: Sequence[ControlEvent], events: Sequence[ControlEvent], complete_above: int = 0
) -> list[ControlEvent]:
    """The events that `stored`, a timeline, lacks, by number.

    Args:
        stored: by number.
        events: in any order.
        complete_above: numbers above it must not be missing in the end.

    Raises:
        TimelineConflict: a stored event differs, or a number is missing.
    """
    known = {event.seq: event for event in stored}
    offered = sorted(events, key=lambda event: event.seq)
    missing = [
        event for event in offered if check_appended(event.seq - 1, _stored_as(known, event.seq), event)
    ]
    there = sorted({*known, *(event.seq for event in missing)})
    for before, after in pairwise([0, *there]):
        if after != before + 1 and after - 1 > complete_above:
            raise TimelineConflict(after - 1, f"it would stay missing between {before} and {after}")
    return missing


def _stored_as(known: Mapping[int, ControlEvent], seq: int) -> list[ControlEvent]:
    return [known[seq]] if seq in known else []


def _brief(event: ControlEvent) -> str:
    return f"{event.kind} from offset {event.from_offset}, digest {event.digest[:12]}"
