"""`ray-fraud state show USER`: what is remembered of a user, now or at an earlier offset.

Never: changing it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cluster.local.stack_record import load_connections
from ray_fraud.cli.output import Output, data_dir_option, fail, output_option, quiet_libraries, show
from ray_fraud.cli.ranges import WholeRange
from ray_fraud.cli.users import UserName, number_and_text
from ray_fraud.domain.windows import BUCKET_MS, DAY_MS, DAYS_KEPT, HOUR_MS, WEEK_DAYS

if TYPE_CHECKING:
    from cluster.local.user_lookup import FoundState
    from ray_fraud.domain.user_state import ExactEvent, Lifetime, Tally, UserState

SHOWN_EVENTS = 20
SHOWN_DAYS = 7


@click.group()
def state() -> None:
    """Look at what is remembered of a user: show."""


@state.command("show")
@click.argument("user", metavar="USER", type=UserName())
@click.option(
    "--at-offset",
    type=WholeRange(0),
    metavar="N",
    help="As it was before offset N of the user's partition, by replay of the log.",
)
@click.option(
    "--partition",
    type=WholeRange(0),
    metavar="P",
    help="With --at-offset: of this partition, where another partitioner put the user.",
)
@data_dir_option
@output_option
def show_state(
    user: str, at_offset: int | None, partition: int | None, data_dir: Path, output: Output
) -> None:
    """The state of USER with the offset for which it holds: transactions, windows, days.

    Of every partition that knows the user: more than one does only if a producer misroutes records.
    """
    from cluster.local.user_lookup import newest_states, state_at
    from ray_fraud.domain.user_state import decode_state

    quiet_libraries()
    if partition is not None and at_offset is None:
        fail("--partition needs --at-offset; without it every partition is looked at")
    connections = load_connections(data_dir)
    user_id, text = number_and_text(connections, user)
    if at_offset is None:
        states = newest_states(connections, user_id, text)
    else:
        states = [state_at(connections, user_id, at_offset, partition, text)]
    own = states[0].partition.partition
    known = [(found, found.state) for found in states if found.state is not None]
    if not known:
        fail(
            f"user {text or user_id} is unknown: no accepted transaction in partition {own} "
            f"below offset {states[0].offset} (or forgotten as idle)"
            + (at_offset is not None)
            * "; --partition P looks in another one"
        )
    first, *others = [state_data(found, packed, decode_state(packed)) for found, packed in known]
    show(
        "state show",
        {**first, "elsewhere": others},
        output,
        lambda: Group(*_warning(known, own), *(part for found in known for part in _view(*found))),
    )


def _warning(known: Sequence[tuple[FoundState, bytes]], own: int) -> list[Text]:
    """Where the user's history is torn apart, says so."""
    strange = [str(found.partition.partition) for found, _ in known if found.partition.partition != own]
    if not strange:
        return []
    text = (
        f"The user belongs to partition {own} and was seen in partition {', '.join(strange)}: a producer "
        "uses another key or partitioner, and each place knows only a part (docs/producers.md)."
    )
    return [Text(text, "yellow"), Text()]


def _view(found: FoundState, packed: bytes) -> list[Table | Text]:
    from ray_fraud.domain.user_state import decode_state

    view = decode_state(packed)
    summary = (_heading(found, view), Text(), _windows_table(view), _high_ones(view.lifetime), Text())
    return [*summary, *_details(view), Text()]


def state_data(found: FoundState, packed: bytes, view: UserState) -> dict[str, Any]:
    """What `--output json` tells of a state; times in unix seconds."""
    return {
        "user_id": found.user_id,
        "user_text": found.user_text,
        "partition": found.partition.partition,
        "topic_id": found.partition.topic_id,
        "offset": found.offset,
        "source": found.source.value,
        "bytes": len(packed),
        "sha256": hashlib.sha256(packed).hexdigest(),
        "last_seen": view.last_seen_ms / 1000,
        "windows": windows(view),
        "lifetime": _lifetime_data(view.lifetime),
        "events": [_event_data(event) for event in view.events],
        "buckets": [_tally_data(tally, BUCKET_MS) for tally in view.buckets],
        "days": [_tally_data(tally, DAY_MS) for tally in view.days],
    }


def windows(view: UserState) -> dict[str, dict[str, float]]:
    """Count and sum of amounts per window that ends at the user's newest event, as the features count them.

    A five-minute bucket that lies partly in a window counts whole.
    """
    newest = view.newest_ms
    day = newest // DAY_MS
    recent = {"1h": newest - HOUR_MS, "24h": newest - DAY_MS}
    days = {"7d": day - WEEK_DAYS + 1, "30d": day - DAYS_KEPT + 1}
    result = {}
    for name, since_ms in recent.items():
        amounts = [event.amount for event in view.events if event.event_ms > since_ms]
        tallies = [tally for tally in view.buckets if tally.number >= since_ms // BUCKET_MS]
        result[name] = _total(amounts, tallies)
    for name, first in days.items():
        result[name] = _total([], [tally for tally in view.days if tally.number >= first])
    return result


def _total(amounts: Sequence[float], tallies: Sequence[Tally]) -> dict[str, float]:
    return {
        "count": len(amounts) + sum(tally.count for tally in tallies),
        "amount": fsum([*amounts, *(tally.amount_sum for tally in tallies)]),
    }


def _event_data(event: ExactEvent) -> dict[str, Any]:
    place = event.place
    return {
        "time": event.event_ms / 1000,
        "amount": event.amount,
        "lat": None if place is None else place.lat_e7 / 1e7,
        "lon": None if place is None else place.lon_e7 / 1e7,
        "payload_digest": event.digest.hex(),
    }


def _tally_data(tally: Tally, width_ms: int) -> dict[str, Any]:
    return {"from": tally.number * width_ms / 1000, "count": tally.count, "amount": tally.amount_sum}


def _lifetime_data(lifetime: Lifetime) -> dict[str, Any]:
    return {
        "count": lifetime.count,
        "amount": lifetime.amount_sum,
        "high": lifetime.high,
        "last_high": lifetime.last_high_ms / 1000 if lifetime.high else None,
    }


def _heading(found: FoundState, view: UserState) -> Text:
    offset = f"partition {found.partition.partition}, all records below offset {found.offset:,}"
    user = found.user_text or found.user_id
    return Text(f"user {user}  ({offset}; last seen {_time(view.last_seen_ms)} UTC)")


def _windows_table(view: UserState) -> Table:
    table = Table("window", "transactions", "amount", box=None, header_style="bold")
    for name, total in windows(view).items():
        table.add_row(name, f"{total['count']:,}", f"{total['amount']:,.2f}")
    table.add_row("all", f"{view.lifetime.count:,}", f"{view.lifetime.amount_sum:,.2f}")
    return table


def _high_ones(lifetime: Lifetime) -> Text:
    if not lifetime.high:
        return Text("never far above the user's mean")
    newest = f"the newest on {_time(lifetime.last_high_ms)} UTC"
    return Text(f"far above the user's mean: {lifetime.high:.2f} (halved every 10 days, {newest})")


def _details(view: UserState) -> list[Table | Text]:
    events = Table("event time", "amount", "place", box=None, header_style="bold")
    for event in reversed(view.events[-SHOWN_EVENTS:]):
        place = event.place
        where = "–" if place is None else f"{place.lat_e7 / 1e7:.4f}, {place.lon_e7 / 1e7:.4f}"
        events.add_row(_time(event.event_ms), f"{event.amount:,.2f}", where)
    days = Table("day", "transactions", "amount", box=None, header_style="bold")
    for tally in reversed(view.days[-SHOWN_DAYS:]):
        days.add_row(_time(tally.number * DAY_MS)[:10], str(tally.count), f"{tally.amount_sum:,.2f}")
    older = len(view.events) - SHOWN_EVENTS
    more = [Text(f"… and {older} older ones (--output json shows all)")] if older > 0 else []
    return [events, *more, Text(), days]


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
