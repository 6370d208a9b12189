"""User ids that are text: their number, who may have it, and what the decoder makes of them."""

from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.contract import FIRST_TEXT_USER, MAX_USER_ID
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.placement import Placement, partition_of_key
from ray_fraud.domain.record import Record
from ray_fraud.domain.refusal import find_fault
from ray_fraud.domain.rejection import Rejection, RejectionCode
from ray_fraud.domain.schemas import SchemaName, schema
from ray_fraud.domain.text_users import TextUsers, UnclaimedUserError, number_spelled, numbers_of
from ray_fraud.domain.transaction import Transaction
from tests.corpus.poison import GOOD, changed
from tests.domain.samples import NOW_S

KEY = b"the user key of the tests, no other"
PAYSIM, UUID = "C1231006815", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def decoder() -> Decoder:
    return Decoder(None, users=TextUsers(KEY))


def decoded(user_id: Any) -> Transaction:
    found = decoder().decode(changed(user_id=user_id))
    assert isinstance(found, Transaction), found
    return found


@pytest.mark.parametrize("text", [PAYSIM, UUID, "017", "1e3", "-1", "Zoë 7", "a" * 64, "9" * 20, " 5"])
def test_a_text_becomes_a_number_of_the_upper_half_and_is_kept(text: str) -> None:
    found = decoded(text)
    assert FIRST_TEXT_USER <= found.user_id <= MAX_USER_ID
    assert found.user_text == text
    assert found.user_id == TextUsers(KEY).digest(text) != TextUsers(bytes(32)).digest(text)


@given(st.integers(0, FIRST_TEXT_USER - 1))
def test_a_spelled_number_is_that_number(number: int) -> None:
    assert decoded(str(number)) == decoded(number)
    assert decoded(number).user_text is None


def test_the_number_of_a_text_is_for_ever() -> None:
    assert TextUsers(KEY).digest(PAYSIM) == 5558059961522939674


@pytest.mark.parametrize(
    ("user_id", "code"),
    [
        ("", RejectionCode.EMPTY_TEXT),
        ("   ", RejectionCode.EMPTY_TEXT),
        ("a" * 65, RejectionCode.TOO_LONG),
        ("a\u200bb", RejectionCode.FORBIDDEN_CHARACTER),
        ("a\0b", RejectionCode.FORBIDDEN_CHARACTER),
        (True, RejectionCode.WRONG_TYPE),
        (1.5, RejectionCode.WRONG_TYPE),
        (["C1"], RejectionCode.WRONG_TYPE),
        (-1, RejectionCode.OUT_OF_RANGE),
        (FIRST_TEXT_USER, RejectionCode.OUT_OF_RANGE),
        (MAX_USER_ID, RejectionCode.OUT_OF_RANGE),
        (str(MAX_USER_ID), RejectionCode.OUT_OF_RANGE),
        (MAX_USER_ID + 1, RejectionCode.OUT_OF_RANGE),
    ],
)
def test_what_is_no_user_id_is_refused_by_name(user_id: Any, code: RejectionCode) -> None:
    value = changed(user_id=user_id)
    found = decoder().decode(value)
    assert isinstance(found, Rejection)
    assert (found.code, found.field) == (code, "user_id")
    assert found == find_fault(value, 65_536, card_key_set=False, user_key_set=True)


def test_without_a_user_key_a_text_is_refused_and_every_number_taken() -> None:
    refused = Decoder(None).decode(changed(user_id=PAYSIM))
    assert isinstance(refused, Rejection)
    assert refused.code is RejectionCode.WRONG_TYPE
    assert "user key" in refused.message
    largest = Decoder(None).decode(changed(user_id=MAX_USER_ID))
    assert isinstance(largest, Transaction)


user_ids: st.SearchStrategy[Any] = (
    st.text(max_size=70)
    | st.integers(-2, 2**64)
    | st.integers(-2, 2**64).map(str)
    | st.sampled_from([None, True, [], {}, "", " "])
)


@given(user_ids)
def test_decoder_and_thorough_reading_and_schema_agree(user_id: Any) -> None:
    value = changed(user_id=user_id)
    found = decoder().decode(value)
    fault = find_fault(value, 65_536, card_key_set=False, user_key_set=True)
    assert fault == (found if isinstance(found, Rejection) else None)
    number = number_spelled(user_id) if isinstance(user_id, str) else user_id
    too_large = isinstance(number, int) and FIRST_TEXT_USER <= number <= MAX_USER_ID
    valid = jsonschema.Draft202012Validator(schema(SchemaName("transactions", 2))).is_valid(
        {**GOOD, "user_id": user_id}
    )
    assert (fault is None) == (valid and not too_large)


def test_a_text_whose_number_is_taken_is_refused_wherever_it_is_read() -> None:
    found = Decoder(None, users=TextUsers(KEY, taken=[PAYSIM])).decode(changed(user_id=PAYSIM))
    assert isinstance(found, Rejection)
    assert (found.code, found.field) == (RejectionCode.USER_ID_TAKEN, "user_id")


def test_keys_of_other_sizes_are_refused_without_being_told() -> None:
    with pytest.raises(ValueError, match="user key has 3 bytes") as caught:
        TextUsers(b"abc")
    assert "abc" not in str(caught.value)


def test_a_column_of_ids_is_what_the_decoder_makes_of_each() -> None:
    column = [PAYSIM, "17", UUID, PAYSIM, "017"]
    numbers = numbers_of(TextUsers(KEY), column)
    assert numbers.dtype == np.int64
    assert numbers.tolist() == [decoded(text).user_id for text in column]
    with pytest.raises(ValueError, match="another text"):
        numbers_of(TextUsers(KEY, taken=[UUID]), column)


def record(offset: int, user_id: Any) -> Record:
    value = changed(user_id=user_id, timestamp=NOW_S, transaction_id=f"t-{offset}")
    return Record(offset, NOW_S * 1000, None, value)


def test_the_fold_stops_before_an_unclaimed_user_and_goes_on_once_it_is_claimed() -> None:
    users = TextUsers(KEY, must_be_claimed=True)
    state = PartitionState(0, Decoder(None, users=users))
    records = [record(0, 1), record(1, PAYSIM), record(2, 2)]
    assert state.observe(records).next_offset == 1
    with pytest.raises(UnclaimedUserError):
        state.observe(records[1:])
    assert (state.next_offset, len(state.users)) == (1, 1)
    users.learn({PAYSIM: users.digest(PAYSIM)})
    observed = state.observe(records[1:])
    assert observed.next_offset == 3
    assert observed.user_texts == {users.digest(PAYSIM): PAYSIM}
    whole = PartitionState(0, decoder())
    whole.observe(records)
    assert whole.users == state.users


def test_a_user_belongs_where_the_text_of_the_id_is_hashed_to() -> None:
    number = TextUsers(KEY).digest(PAYSIM)
    home = partition_of_key(PAYSIM.encode(), 12)
    for partition in range(12):
        placement = Placement(partition, 12)
        assert placement.misrouted([number], {number: PAYSIM}) == (partition != home)
