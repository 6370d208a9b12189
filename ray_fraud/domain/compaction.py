"""What of a control timeline a fold can still reach: the rest would be carried along for ever.

A settings, split or features event says what holds until the next one of its kind. A fold that begins at
offset `floor` or above applies all that are due there at once, so of each kind only the one in force counts.
All other kinds are kept: they concern single records, are few, and are looked for by their content.

Never: dropping the first event (where the partition's life began), or one above `floor`.
"""

from collections.abc import Sequence

from ray_fraud.domain.timeline import ControlEvent, EventKind, in_force_order

REPLACED = frozenset({EventKind.SETTINGS, EventKind.SPLIT, EventKind.FEATURES})
"""Kinds of which the newest one in force is all that counts."""


def compacted(
    timeline: Sequence[ControlEvent], floor: int, kept_above: int | None = None
) -> list[ControlEvent]:
    """The events, by number, that a fold which begins at `floor` or above can reach.

    Folding with them gives what folding with all gives, from there on, also when it is done again and again.

    Args:
        timeline: by number; may have been compacted before.
        floor: offset.
        kept_above: events of a higher number stay, whatever they say; None: none does for that.
    """
    in_force: dict[EventKind, ControlEvent] = {}
    for event in timeline:
        if event.kind in REPLACED and event.from_offset <= floor:
            last = in_force.get(event.kind)
            if last is None or in_force_order(event) > in_force_order(last):
                in_force[event.kind] = event

    def is_reachable(event: ControlEvent) -> bool:
        last = in_force.get(event.kind)
        return (
            last is None
            or event.from_offset > floor
            or event.seq >= last.seq
            or (kept_above is not None and event.seq > kept_above)
        )

    return [*timeline[:1], *(event for event in timeline[1:] if is_reachable(event))]


def last_missing(timeline: Sequence[ControlEvent], up_to: int | None = None) -> int:
    """The highest number that is missing behind the first event's and not above `up_to`; 0 if none is.

    `up_to`: None: the last event's.
    """
    last = up_to if up_to is not None else max((event.seq for event in timeline), default=0)
    for event in reversed(timeline):
        if event.seq < last:
            return last
        if event.seq == last:
            last -= 1
    return 0


def may_be_compacted(timeline: Sequence[ControlEvent], next_offset: int) -> bool:
    """Whether all numbers that are missing may be of events that were replaced at `next_offset` or below.

    Behind each of those stands the one of its kind that is in force there.
    """
    missing = last_missing(timeline)
    return not missing or any(
        event.seq > missing and event.kind in REPLACED and event.from_offset <= next_offset
        for event in timeline
    )
