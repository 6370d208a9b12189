"""Users as people name them: by number, or by the text that is their id.

Never: a key in a message.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from ray_fraud.cli.ranges import WholeRange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ray_fraud.stores.connections import Connections
    from ray_fraud.stores.ledger.queries import StoredAlert

MAX_USER_ID = 2**63 - 1
MAX_ID_LENGTH = 64


class UserName(click.ParamType[str]):
    """A number from 0 to 2^63 - 1, or a text of 1 to 64 characters."""

    name = "user"
    _number = WholeRange(0, MAX_USER_ID)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if text.lstrip("+-").isdigit():
            return str(self._number.convert(text, param, ctx))
        if not 0 < len(text) <= MAX_ID_LENGTH:
            self.fail(f"has {len(text)} characters; an id has 1 to {MAX_ID_LENGTH}", param, ctx)
        return text


def number_and_text(connections: Connections, user: str) -> tuple[int, str | None]:
    """The number of a user, and the id's text if it is one; a number of a text id is that user, too.

    Raises:
        StoreError: a number could be a text's, and the register does not answer.
        PermissionError: the user key may be read by others.
    """
    from ray_fraud.domain.contract import FIRST_TEXT_USER
    from ray_fraud.domain.text_users import number_spelled
    from ray_fraud.stores.partition_facts import users_of
    from ray_fraud.stores.text_users.postgres import PostgresTextUsers

    number = number_spelled(user)
    if number is not None:
        if connections.user_key_file is None or number < FIRST_TEXT_USER:
            return number, None
        with closing(PostgresTextUsers(connections.postgres)) as register:
            return number, register.texts({number}).get(number)
    users = users_of(connections.user_key_file)
    if users is None:
        raise click.BadParameter(
            f"{user!r} is no number from 0 to {MAX_USER_ID}, and there is no user key for text ids "
            "(docs/producers.md)"
        )
    asked = users.digest(user)
    with closing(PostgresTextUsers(connections.postgres)) as register:
        owner = register.texts({asked}).get(asked, user)
    if owner != user:
        raise click.BadParameter(f"{user!r}: its number is {owner!r}'s; its records are dead letters")
    return asked, user


def texts_of(connections: Connections, rows: Iterable[StoredAlert]) -> dict[int, str]:
    """The texts of those users of these alerts whose id is text.

    Raises:
        StoreError: there may be one, and the register does not answer.
    """
    from ray_fraud.domain.contract import FIRST_TEXT_USER
    from ray_fraud.stores.text_users.postgres import PostgresTextUsers

    numbers = {row.alert.user_id for row in rows if row.alert.user_id >= FIRST_TEXT_USER}
    if not numbers or connections.user_key_file is None:
        return {}
    with closing(PostgresTextUsers(connections.postgres)) as register:
        return register.texts(numbers)
