"""Claiming the numbers of text ids, for all new users of a batch of records at once.

Never: a claim for a record that is refused.
"""

from collections.abc import Sequence

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import Record
from ray_fraud.domain.text_users import UnclaimedUserError
from ray_fraud.stores.text_users.port import TextUserRegister


def claim_users(decoder: Decoder, register: TextUserRegister, records: Sequence[Record]) -> None:
    """Claims what the decoder wants claimed before it decides about these records.

    Raises:
        StoreUnavailable: the register does not answer; repeat it.
    """
    users = decoder.users
    if users is None:
        return
    users.make_room(len(records))
    texts: set[str] = set()
    for record in records:
        try:
            decoder.decode(record.value)
        except UnclaimedUserError as error:
            texts.add(error.text)
    users.learn(register.claim({text: users.digest(text) for text in texts}))
