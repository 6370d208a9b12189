"""The register in PostgreSQL: tables `text_users`, `text_users_refused` and `text_user_key`.

Never: an update or a deletion of a row.
"""

from collections.abc import Collection, Mapping

from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.postgres_session import PATIENT, Limits, Session
from ray_fraud.stores.text_users.port import TextUserRegister

OTHER_KEY = (
    "the numbers of text user ids were made with another key; put the former key file back: "
    "with this one every such user would be a new one"
)

_KEY = "INSERT INTO text_user_key (fingerprint) VALUES (%s) ON CONFLICT DO NOTHING"
# In the order of numbers, so that two who claim the same ones wait for each other in one order.
_CLAIM = """
INSERT INTO text_users (user_id, user_text)
SELECT DISTINCT ON (number) number, text
FROM unnest(%(texts)s::text[], %(numbers)s::bigint[]) AS asked (text, number)
ORDER BY number, text COLLATE "C"
ON CONFLICT DO NOTHING
"""
_TEXTS = "SELECT user_id, user_text FROM text_users WHERE user_id = ANY (%s::bigint[])"
_REFUSE = """
INSERT INTO text_users_refused (user_text, user_id)
SELECT text, number FROM unnest(%(texts)s::text[], %(numbers)s::bigint[]) AS asked (text, number)
ORDER BY text COLLATE "C"
ON CONFLICT DO NOTHING
"""


class PostgresTextUsers(TextUserRegister):
    """See `TextUserRegister`."""

    def __init__(self, where: PostgresConnection, *, limits: Limits = PATIENT) -> None:
        """Opens nothing yet."""
        self._session = Session(where, name="ray-fraud text users", limits=limits)

    def check_key(self, fingerprint: str) -> None:
        self._session.rows("note the user key", _KEY, (fingerprint,))
        rows = self._session.rows("check the user key", "SELECT fingerprint FROM text_user_key", ())
        if rows[0][0] != fingerprint:
            raise StoreRefused("postgres", OTHER_KEY)

    def claim(self, numbers: Mapping[str, int]) -> dict[str, int | None]:
        if not numbers:
            return {}
        values = {"texts": list(numbers), "numbers": list(numbers.values())}
        self._session.rows("claim user ids", _CLAIM, values)
        owners = self.texts(set(numbers.values()))
        lost = [text for text, number in numbers.items() if owners[number] != text]
        if lost:
            refused = {"texts": lost, "numbers": [numbers[text] for text in lost]}
            self._session.rows("refuse user ids", _REFUSE, refused)
        return {text: number if owners[number] == text else None for text, number in numbers.items()}

    def texts(self, numbers: Collection[int]) -> dict[int, str]:
        if not numbers:
            return {}
        rows = self._session.rows("read text users", _TEXTS, (sorted(numbers),))
        return {int(number): str(text) for number, text in rows}

    def taken(self) -> set[str]:
        rows = self._session.rows("read refused users", "SELECT user_text FROM text_users_refused", ())
        return {str(text) for (text,) in rows}

    def close(self) -> None:
        self._session.close()
