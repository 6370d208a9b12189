"""Card tokens: stable under one key, different under another, silent about the number."""

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ray_fraud.domain.card import CardTokenizer, is_card_number
from tests.corpus.documents import card_numbers
from tests.corpus.poison import CARD_NUMBER

KEY = b"0123456789abcdef0123456789abcdef"


def test_the_token_is_the_keyed_hash_of_the_whole_number() -> None:
    token = CardTokenizer(KEY).token(CARD_NUMBER)
    assert token is not None
    assert token.token == hashlib.blake2b(CARD_NUMBER.encode(), digest_size=16, key=KEY).hexdigest()
    assert (token.first6, token.last4) == ("411111", "1111")
    assert CARD_NUMBER not in repr(token)


@given(card_numbers)
def test_separators_make_no_difference(number: str) -> None:
    plain = number.replace(" ", "").replace("-", "")
    tokenizer = CardTokenizer(KEY)
    assert is_card_number(number)
    assert tokenizer.token(number) == tokenizer.token(plain)


@given(first=card_numbers, second=card_numbers, key=st.binary(min_size=16, max_size=64))
def test_other_number_or_other_key_other_token(first: str, second: str, key: bytes) -> None:
    assume(key != KEY)
    assume([c for c in first if c.isdigit()] != [c for c in second if c.isdigit()])
    tokens = [
        CardTokenizer(KEY).token(first),
        CardTokenizer(KEY).token(second),
        CardTokenizer(key).token(first),
    ]
    assert len({token.token for token in tokens if token is not None}) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4" * 11,
        "4" * 20,
        "4111--1111-1111",
        "-411111111111",
        "411111111111-",
        "٤" * 16,
        CARD_NUMBER + "\n",
    ],
)
def test_what_is_no_card_number_has_no_token(text: str) -> None:
    assert not is_card_number(text)
    assert CardTokenizer(KEY).token(text) is None


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_key_of_another_size_is_refused_without_showing_it(size: int) -> None:
    with pytest.raises(ValueError, match=f"card key has {size} bytes") as caught:
        CardTokenizer(b"s" * size)
    assert "sss" not in str(caught.value)


def test_the_key_is_not_shown() -> None:
    tokenizer = CardTokenizer(KEY)
    assert KEY.decode() not in f"{tokenizer!r} {vars(tokenizer)!r}"
