"""The public yardstick: the card transactions of the Fraud Detection Handbook, draw for draw.

Source: Le Borgne, Siblini, Lebichot, Bontempi, "Reproducible Machine Learning for Credit Card Fraud
Detection", chapter 3, whose published data set is what the default settings make. The draws come from numpy's
legacy generator and Python's own, one at a time and in the order of the source: each one decides what the
next ones mean.

Never: a clock, a draw outside of the documented seeds.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

import msgspec
import numpy as np

from ray_fraud.generator.chance import Floats, Ints

START_TIME = 1_522_540_800
"""2018-04-01T00:00:00Z, unix seconds."""
DAY_SECONDS = 86_400
LARGE_AMOUNT, COMPROMISED_TERMINAL, COMPROMISED_CUSTOMER = 1, 2, 3
"""The scenarios; 0 is no fraud."""
LARGE_FROM = 220.0
_PLANE = 100.0
_REACH = 5.0
"""How far a customer goes to a terminal, in units of the plane; the limit itself is too far."""
_MEAN_SECOND, _SPREAD_SECONDS = 43_200.0, 20_000.0
_TERMINALS_A_DAY, _TERMINAL_DAYS = 2, 28
_CUSTOMERS_A_DAY, _CUSTOMER_DAYS = 3, 14
_SHARE_OF_CUSTOMER = 3
"""One of so many transactions of a compromised customer is a fraud."""
_CUSTOMER_FACTOR = 5.0
_MOST_DAYS = 366
_SEEDS = 2**32
"""How many the legacy generator knows."""


class HandbookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides the data. The defaults are the published data set."""

    seed_shift: int = 0
    """Added to every seed: 0 of the customers, 1 of the terminals, each customer's id, each day's number."""
    customers: int = 5_000
    terminals: int = 10_000
    days: int = 183

    def __post_init__(self) -> None:
        for name, least in (
            ("seed_shift", 0),
            ("customers", _CUSTOMERS_A_DAY),
            ("terminals", _TERMINALS_A_DAY),
            ("days", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} must be at least {least}")
        if self.days > _MOST_DAYS:
            raise ValueError(f"days: {self.days} must be at most {_MOST_DAYS}")
        most = _SEEDS - max(self.customers, self.days, 2)
        if self.seed_shift > most:
            raise ValueError(f"seed_shift: {self.seed_shift} must be at most {most}: seeds have 32 bits")


@dataclass(frozen=True)
class HandbookTransactions:
    """Columns of shape (rows,) in order of time; within a second by customer, then as drawn."""

    transaction_id: Ints
    """The number of the row, from 0."""
    timestamp: Ints
    """Unix seconds."""
    user_id: Ints
    """The customer, from 0."""
    merchant_id: Ints
    """The terminal, from 0."""
    amount: Floats
    fraud: Ints
    """1 or 0."""
    scenario: Ints
    """The last of the three that made this row a fraud, or 0."""

    def __len__(self) -> int:
        return len(self.transaction_id)

    def digest(self) -> str:
        """BLAKE2b (16 bytes, hex) of the columns in their order, each value as 8 bytes, little-endian."""
        digest = blake2b(digest_size=16)
        for column in vars(self).values():
            digest.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class _Customers:
    """Columns of shape (customers,)."""

    places: Floats
    """Shape (customers, 2)."""
    mean_amounts: list[float]
    transactions_per_day: list[float]


class _Drawn:
    """Rows as they are drawn, customer by customer; seconds count from the first midnight."""

    def __init__(self) -> None:
        self.seconds: list[int] = []
        self.amounts: list[float] = []
        self.terminals: list[int] = []

    def __len__(self) -> int:
        return len(self.seconds)


def handbook_transactions(
    settings: HandbookSettings | None = None, customers_done: Callable[[int], None] = lambda _count: None
) -> HandbookTransactions:
    """All transactions with their labels; the default settings make the published 1,754,155.

    `customers_done` is called after every customer, with how many there were.
    """
    settings = settings or HandbookSettings()
    customers, terminals = _customers(settings), _terminals(settings)
    drawn, rows_of = _Drawn(), []
    for customer in range(settings.customers):
        before = len(drawn)
        _draw_customer(drawn, customer, customers, terminals, settings)
        rows_of.append(len(drawn) - before)
        customers_done(customer + 1)
    seconds = np.array(drawn.seconds, dtype=np.int64)
    order = np.argsort(seconds, kind="stable")
    seconds = seconds[order]
    users = np.repeat(np.arange(settings.customers, dtype=np.int64), rows_of)[order]
    merchants = np.array(drawn.terminals, dtype=np.int64)[order]
    amounts = np.round(np.array(drawn.amounts, dtype=np.float64)[order], 2)
    scenario = _put_frauds_in(seconds, users, merchants, amounts, settings)
    return HandbookTransactions(
        np.arange(len(seconds), dtype=np.int64),
        START_TIME + seconds,
        users,
        merchants,
        amounts,
        (scenario > 0).astype(np.int64),
        scenario,
    )


def _customers(settings: HandbookSettings) -> _Customers:
    uniform = np.random.RandomState(settings.seed_shift).uniform
    rows = [
        (uniform(0, _PLANE), uniform(0, _PLANE), uniform(5, 100), uniform(0, 4))
        for _ in range(settings.customers)
    ]
    table = np.array(rows)
    return _Customers(table[:, :2], table[:, 2].tolist(), table[:, 3].tolist())


def _terminals(settings: HandbookSettings) -> Floats:
    """Places of shape (2, terminals)."""
    places = np.random.RandomState(1 + settings.seed_shift).uniform(0, _PLANE, (settings.terminals, 2))
    return np.ascontiguousarray(places.T)


def _draw_customer(
    drawn: _Drawn, customer: int, customers: _Customers, terminals: Floats, settings: HandbookSettings
) -> None:
    reachable = _reachable(customers.places[customer], terminals)
    mean, per_day = customers.mean_amounts[customer], customers.transactions_per_day[customer]
    spread = mean / 2
    state = np.random.RandomState(customer + settings.seed_shift)
    choose = random.Random(customer + settings.seed_shift).choice
    # The sum that `normal` makes inside, and a third of its time: it checks its arguments at every call.
    standard_normal = state.standard_normal
    for day in range(settings.days):
        for _ in range(state.poisson(per_day)):
            second = int(_MEAN_SECOND + _SPREAD_SECONDS * standard_normal())
            if not 0 < second < DAY_SECONDS:
                continue
            amount = mean + spread * standard_normal()
            if amount < 0:
                amount = state.uniform(0, mean * 2)
            if reachable:
                drawn.seconds.append(day * DAY_SECONDS + second)
                drawn.amounts.append(amount)
                drawn.terminals.append(choose(reachable))


def _reachable(place: Floats, terminals: Floats) -> list[int]:
    """Ids of the terminals near enough, ascending."""
    x, y = terminals
    distances = np.sqrt((x - place[0]) ** 2 + (y - place[1]) ** 2)
    return np.flatnonzero(distances < _REACH).tolist()


def _put_frauds_in(
    seconds: Ints, users: Ints, merchants: Ints, amounts: Floats, settings: HandbookSettings
) -> Ints:
    """The scenario of each row; the amounts of compromised customers are changed in place."""
    scenario = np.where(amounts > LARGE_FROM, LARGE_AMOUNT, 0).astype(np.int64)
    midnights = np.arange(settings.days + max(_TERMINAL_DAYS, _CUSTOMER_DAYS)) * DAY_SECONDS
    first_row = np.searchsorted(seconds, midnights)
    # The source takes the number of the last day for the number of days: on that day nothing begins.
    days = range(settings.days - 1)
    for day in days:
        found = _chosen(day, settings, settings.terminals, _TERMINALS_A_DAY)
        rows = slice(first_row[day], first_row[day + _TERMINAL_DAYS])
        scenario[rows][np.isin(merchants[rows], found)] = COMPROMISED_TERMINAL
    for day in days:
        found = _chosen(day, settings, settings.customers, _CUSTOMERS_A_DAY)
        rows = slice(first_row[day], first_row[day + _CUSTOMER_DAYS])
        theirs = rows.start + np.flatnonzero(np.isin(users[rows], found))
        chance = random.Random(day + settings.seed_shift)
        taken = chance.sample(theirs.tolist(), len(theirs) // _SHARE_OF_CUSTOMER)
        amounts[taken] *= _CUSTOMER_FACTOR
        scenario[taken] = COMPROMISED_CUSTOMER
    return scenario


def _chosen(day: int, settings: HandbookSettings, among: int, count: int) -> Ints:
    """Ids that are compromised from this day on, shape (count,)."""
    state = np.random.RandomState(day + settings.seed_shift)
    return state.choice(among, count, replace=False).astype(np.int64)
