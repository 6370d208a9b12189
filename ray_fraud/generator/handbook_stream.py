"""The handbook's transactions one by one, as the topics carry them: ids are decimal text, no places.

Never: a pace (see `send`).
"""

from collections.abc import Iterator

from ray_fraud.domain.transaction import Transaction
from ray_fraud.generator.handbook import HandbookTransactions
from ray_fraud.generator.transaction import GeneratedTransaction, HandbookScenario

_CHUNK_ROWS = 65_536
_SCENARIOS = (None, *HandbookScenario)


def handbook_stream(made: HandbookTransactions) -> Iterator[GeneratedTransaction]:
    """Every row in order, with its label."""
    for start in range(0, len(made), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        for number, timestamp, user, merchant, amount, scenario in zip(
            made.transaction_id[rows].tolist(),
            made.timestamp[rows].tolist(),
            made.user_id[rows].tolist(),
            made.merchant_id[rows].tolist(),
            made.amount[rows].tolist(),
            made.scenario[rows].tolist(),
            strict=True,
        ):
            transaction = Transaction(str(number), user, amount, float(timestamp), merchant_id=str(merchant))
            yield GeneratedTransaction(transaction, _SCENARIOS[scenario])
