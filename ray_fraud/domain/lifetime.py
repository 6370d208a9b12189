"""What a user's state keeps of all its transactions, however old: how usual amounts are, and the high ones.

A transaction is *high* if the user has at least five earlier ones and its amount is above three times their
mean. Earlier means folded before, whatever the event times. The number of high ones halves every ten days of
event time, so that it tells both how often and how lately the user paid far more than usual.

Never: `pow` or `exp`, whose last bits differ between machines; only basic IEEE 754 operations.
"""

from itertools import accumulate, repeat
from operator import mul

from ray_fraud.domain.features import MISSING
from ray_fraud.domain.windows import DAY_MS

HIGH_AFTER = 5
"""Earlier transactions that a mean needs."""
HIGH_TIMES = 3.0
"""An amount above so many times the mean is high."""
MOST_TRANSACTIONS = 2**32 - 1
"""The largest count that a state holds: there, count and sum stay as they are."""
MOST_DAYS = 400
"""More days than these decay no further; by then 2**-40 is left."""
DAY_FACTOR = 0.9330329915368074
"""0.5 ** (1 / 10): what one day leaves of a high transaction."""
DECAY: tuple[float, ...] = tuple(accumulate(repeat(DAY_FACTOR, MOST_DAYS), mul, initial=1.0))
"""By whole days: powers of `DAY_FACTOR` by repeated multiplication, the same bits on every machine."""


Totals = tuple[float, float, int, int]
"""Sum of amounts; number of high ones, decayed up to the UTC day of the newest of them, and 0 only before the
first; event time of that newest one (ms); count of all."""


def lifetime_with(
    amount_sum: float, high: float, last_high_ms: int, count: int, event_ms: int, day: int, amount: float
) -> tuple[tuple[float, float], Totals]:
    """Features 17 and 18 of one more transaction at `event_ms` on UTC `day`, and the totals after it.

    The features do not count the transaction itself. One that is older than the newest high one decays
    nothing; if it is high itself, it enters with what the days up to that one leave of it.
    """
    days, since, decayed = 0, MISSING, high
    if high:
        days = day - last_high_ms // DAY_MS
        since = (event_ms - last_high_ms) / DAY_MS
        if days > 0:
            decayed = high * DECAY[days if days < MOST_DAYS else MOST_DAYS]
    if count >= HIGH_AFTER and amount > HIGH_TIMES * amount_sum / count:
        last_high_ms = max(last_high_ms, event_ms) if high else event_ms
        high = decayed + (DECAY[min(-days, MOST_DAYS)] if days < 0 else 1.0)
    if count < MOST_TRANSACTIONS:
        amount_sum, count = amount_sum + amount, count + 1
    return (decayed, since), (amount_sum, high, last_high_ms, count)
