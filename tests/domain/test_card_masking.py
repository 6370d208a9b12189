"""Masking in place: card numbers go, everything else stays byte for byte, whatever the bytes are."""

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ray_fraud.domain.masking import (
    luhn_valid,
    mask_beginning,
    mask_card_numbers,
    mask_header,
    mask_key,
    mask_text,
)
from tests.corpus.documents import json_values

CARD = "4111111111111111"


@st.composite
def numbers_of_cards(draw: st.DrawFn) -> str:
    """13–19 digits with a valid check digit."""
    body = draw(st.from_regex(r"[2-6][0-9]{11,17}", fullmatch=True))
    return next(body + check for check in "0123456789" if luhn_valid(body + check))


@st.composite
def grouped_numbers(draw: st.DrawFn) -> str:
    """A card number with a space or dash here and there."""
    number = draw(numbers_of_cards())
    gaps = draw(st.lists(st.sampled_from(["", "", " ", "-"]), min_size=len(number), max_size=len(number)))
    return "".join(digit + gap for digit, gap in zip(number, gaps, strict=True)).rstrip(" -")


def digits_of(text: str) -> str:
    return "".join(character for character in text if character in "0123456789*")


def assert_only_digits_were_masked(before: bytes, after: bytes) -> None:
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        assert new == old or (new == ord("*") and old in b"0123456789")


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        (CARD, True),
        ("4111111111111112", False),
        ("5105105105105100", True),
        ("378282246310005", True),
        ("0", True),
    ],
)
def test_luhn(number: str, valid: bool) -> None:
    assert luhn_valid(number) is valid


words = st.text(st.characters(exclude_characters="0123456789 -*", codec="utf-8"), max_size=12)


@given(number=grouped_numbers(), before=words, after=words, ascii_only=st.booleans(), deep=st.integers(0, 3))
def test_a_number_in_any_text_is_masked_but_for_first_six_and_last_four(
    number: str, before: str, after: str, ascii_only: bool, deep: int
) -> None:
    document: Any = before + number + after
    for _ in range(deep):
        document = {"note": [document], "t": 1}
    value = json.dumps(document, ensure_ascii=ascii_only).encode()
    masked = mask_card_numbers(value)
    assert_only_digits_were_masked(value, masked)
    digits = digits_of(number)
    shown = digits[:6] + "*" * (len(digits) - 10) + digits[-4:]
    assert shown in digits_of(masked.decode())


@given(
    value=grouped_numbers()
    | numbers_of_cards().map(int)
    | st.integers(0, 10**25)
    | st.text("0123456789x -.", max_size=40)
)
def test_the_card_field_is_masked_whatever_it_holds(value: Any) -> None:
    written = json.dumps(value)
    masked = re.sub(r"[0-9](?:[ -]*[0-9])*", lambda run: hidden(run[0]), written)
    for template in (
        '{"card_number": @, "z": 1}',
        '{"a": [{"card_number" :[@, {"n": @}]}], "timestamp": 17}',
    ):
        value_bytes = template.replace("@", written).encode()
        assert mask_card_numbers(value_bytes) == template.replace("@", masked).encode()


def hidden(run: str) -> str:
    """What may be seen of a run of digits in a card field."""
    count = sum(character in "0123456789" for character in run)
    keep = range(6) if 13 <= count <= 19 else ()
    tail = range(count - 4, count) if 13 <= count <= 19 else ()
    places = itertools.count()
    return "".join(
        character if character in " -" or (place := next(places)) in keep or place in tail else "*"
        for character in run
    )


@given(json_values)
def test_documents_without_a_card_number_are_the_same_object(document: Any) -> None:
    value = json.dumps(document).encode()
    assume("card" not in value.decode().lower())
    texts = [run for run in value.decode().split('"')[1::2] if sum(c in "0123456789" for c in run) >= 13]
    assume(not texts)
    assert mask_card_numbers(value) is value


@given(
    number=numbers_of_cards().map(int) | st.sampled_from([1_700_000_000_004, 1_700_000_000_000_006]),
    spaced=st.booleans(),
    cut=st.integers(0, 3),
)
def test_bare_numbers_stay(number: int, spaced: bool, cut: int) -> None:
    separators = (" , ", " : ") if spaced else (",", ":")
    document = {"timestamp": number, "list": [number, -number, {"n": number}], "last": number}
    value = json.dumps(document, separators=separators).encode()
    assert mask_card_numbers(value) is value
    whole = str(number).encode()
    assert mask_card_numbers(whole) is whole
    truncated = value[: len(value) - cut]
    assert mask_card_numbers(truncated) is truncated


CASES = {
    "in a sentence with other numbers": (f'{{"n":"12 {CARD} 2027"}}', '{"n":"12 411111******1111 2027"}'),
    "two beside each other": (f'["{CARD} {CARD}"]', '["411111******1111 411111******1111"]'),
    "wide gaps": ('{"n":"4111 - 1111  1111--1111"}', '{"n":"4111 - 11**  ****--1111"}'),
    "a comma between": ('{"n":"41111111,11111111"}', '{"n":"41111111,11111111"}'),
    "as a key": (f'{{"{CARD}":1}}', '{"411111******1111":1}'),
    "digits spelled as escapes": (
        r'{"n":"\u0034\u003111111111\u003111111"}',
        r'{"n":"\u0034\u00311111****\u002a*1111"}',
    ),
    "an escaped backslash is no escape": (
        r'{"n":"\\u0034111111111111111"}',
        r'{"n":"\\u0034111111111111111"}',
    ),
    "key spelled with escapes": (
        r'{"\u0063ard\u005fnumber":"4111111111111112"}',
        r'{"\u0063ard\u005fnumber":"411111******1112"}',
    ),
    "key in another case": ('{"cardNumber":"4111111111111112"}', '{"cardNumber":"411111******1112"}'),
    "number field": ('{"card_number":4111111111111112,"x":5}', '{"card_number":411111******1112,"x":5}'),
    "short number field": ('{"card_number":12345}', '{"card_number":*****}'),
    "twelve digits": ('{"card_number":"411111111111"}', '{"card_number":"************"}'),
    "JSON within a text": (
        r'{"p":"{\"card_number\":\"4111111111111112\"}"}',
        r'{"p":"{\"card_number\":\"411111******1112\"}"}',
    ),
    "truncated in the number": ('{"card_number":"41111111111', '{"card_number":"***********'),
    "broken quotes": (f'{{"city":"New "York","n":"{CARD}"}}', '{"city":"New "York","n":"411111******1111"}'),
    "key without quotes": ("{card_number: 4111111111111112}", "{card_number: 411111******1112}"),
    "CSV": (f"tx,42,{CARD},1700000000004", "tx,42,411111******1111,1700000000004"),
    "form": ("card_number=4111111111111112&a=1", "card_number=411111******1112&a=1"),
    "no valid check digit": ('{"n":"4111111111111112"}', '{"n":"4111111111111112"}'),
    "no number": ('{"card_number":null,"n":1}', '{"card_number":null,"n":1}'),
}


@pytest.mark.parametrize(("value", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_cases(value: str, expected: str, encoding: str) -> None:
    assert mask_card_numbers(value.encode(encoding)).decode(encoding) == expected


@given(st.binary(max_size=300) | st.text('"\\:{}[],0123456789 -ucard_number', max_size=200).map(str.encode))
def test_any_bytes_keep_their_length(value: bytes) -> None:
    for mask in (mask_card_numbers, mask_beginning, mask_key):
        masked = mask(value)
        assert len(masked) == len(value)
        assert mask(masked) == masked


@pytest.mark.parametrize(
    "unit",
    [
        b'\\"',
        b"1 ",
        b"4111111111111111,",
        b'{"card_number":',
        b'"',
        b"[,1",
        b"1\0\0",
        b"\\",
        b"\\u0034",
        b'card_number"',
        b" -",
        b'{"',
    ],
)
@pytest.mark.parametrize("start", [b"", b'{"', b'{"card_number":'])
@pytest.mark.timeout(60)  # a quadratic search takes minutes
def test_hostile_values_take_linear_time(unit: bytes, start: bytes) -> None:
    value = start + unit * (300_000 // len(unit))
    for mask in (mask_card_numbers, mask_beginning, mask_key):
        assert len(mask(value)) == len(value)


def test_text_of_messages_is_masked() -> None:
    assert mask_text(f"id '{CARD}' \ud800") == "id '411111******1111' \ud800"
    assert mask_text("") == ""


@st.composite
def texts_around_a_number(draw: st.DrawFn) -> tuple[bytes, int, str]:
    """A document with one card number in it, where that begins, and the number as it is written."""
    escaped = draw(st.booleans())
    number = draw(grouped_numbers())
    written = "".join(f"\\u{ord(c):04x}" if escaped and draw(st.booleans()) else c for c in number)
    before = draw(
        st.sampled_from(
            ['{"n":"', "", "card ", '{"card_number":"', '{"a":1700000000004,"n":"x ', "n=", '["', "["]
        )
    )
    after = draw(
        st.sampled_from(['"}', "", " and more", ", 2", "]", ",5]", "\n\nx", ".5 x", "\\u0020", "x" * 40])
    )
    encoding = draw(st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]))
    return (before + written + after).encode(encoding), len(before.encode(encoding)), number


def assert_hidden(shown: bytes, number: str) -> None:
    """Of the number's digits only the first six, and the last four if all of it is there, are in clear."""
    text = re.sub(
        r"\\u00(3[0-9]|2[0da])", lambda e: chr(int(e[1], 16)), shown.replace(b"\0", b"").decode("latin-1")
    )
    run = re.match(r"[0-9* -]*", text)
    assert run is not None
    digits = digits_of(run[0])
    length = len(digits_of(number))
    if len(digits) > 6:
        clear = [digit for digit in digits[6 : length - 4] if digit != "*"]
        assert not clear, f"{shown!r} of {number!r}"
    if len(digits) < length:
        clear = [digit for digit in digits[6:] if digit != "*"]
        assert not clear, f"{shown!r} of {number!r}, cut"


@given(texts_around_a_number(), st.data())
def test_a_number_in_a_beginning_is_masked_wherever_the_cut_goes(
    case: tuple[bytes, int, str], data: st.DataObject
) -> None:
    value, start, number = case
    cut = data.draw(st.integers(0, len(value) - 1))
    beginning = value[:cut]
    masked = mask_beginning(beginning)
    assert len(masked) == len(beginning)
    if mask_card_numbers(value) is value:
        return  # a bare number, which is none of a card
    assert_hidden(masked[start:], number)


def test_the_beginning_of_a_number_that_goes_on_shows_nothing() -> None:
    value = b'{"n":"4111 1111 1111 1111"}'
    for cut in range(len(value)):
        shown = mask_beginning(value[:cut])
        assert sum(octet in b"0123456789" for octet in shown) <= 10
    assert mask_beginning(b'{"n":"4111 1111 11') == b'{"n":"**** **** **'
    assert mask_beginning(b'{"amount": 12') == b'{"amount": **'
    assert mask_beginning(b'{"n":"9876543210987654321') == b'{"n":"9******************'


@pytest.mark.parametrize("gap", ["", " ", "-", " - "])
def test_keys_are_masked_only_if_they_are_card_numbers(gap: str) -> None:
    assert mask_key(gap.join(["4111", "1111", "1111", "1111"]).encode()).count(b"*") == 6
    for key in (b"42", b"4111111111111112", b"9223372036854775807", b"\0\1\2\xff", b"user 7", b"1" * 12):
        assert mask_key(key) is key


def test_headers_are_masked_but_for_times() -> None:
    assert mask_header(b"a", CARD.encode()) == b"411111******1111"
    assert mask_header(b"a", b"1700000000004") == b"1700000000004"
    assert mask_header(b"Card-Number", b"4111111111111112") == b"411111******1112"
    assert mask_header(b"a", b"4111111111", cut=True) == b"**********"
