"""Dead letters: every refused record keeps its bytes and headers and says where it was and why."""

import hashlib
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud import __version__
from ray_fraud.domain.dead_letter import (
    SMALLEST_LIMIT_BYTES,
    Letter,
    LimitTooSmall,
    correlation_id,
    hidden_digits_sha256,
    letter_of,
)
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import Cut, Headers, Record
from ray_fraud.domain.record_size import batch_bytes
from ray_fraud.domain.rejection import DeadLetter, Rejection, RejectionCode
from tests.corpus.poison import CARD_NUMBER, POISON, PoisonCase, changed

LIMIT = 1_048_576 + 65_536


def dead_letter(value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> DeadLetter:
    rejection = Decoder(None).decode(value)
    assert isinstance(rejection, Rejection)
    return DeadLetter(Record(17, 1_700_000_000_123, b"42", value, headers), rejection)


def letter(
    value: bytes | None, headers: Headers = (), *, key: bytes | None = b"42", limit: int = LIMIT
) -> Letter:
    rejection = Rejection(RejectionCode.NOT_JSON, "", "value is not JSON")
    return letter_of(DeadLetter(Record(17, 1_700_000_000_123, key, value, headers), rejection), "t", 2, limit)


def test_the_headers_tell_place_and_reason() -> None:
    headers = dict(letter_of(dead_letter(changed(amount=-1)), "transactions", 2, LIMIT).headers)
    identity = headers.pop("dlq.correlation_id")
    assert identity is not None
    assert headers == {
        "dlq.topic": b"transactions",
        "dlq.partition": b"2",
        "dlq.offset": b"17",
        "dlq.timestamp": b"1700000000123",
        "dlq.error.class": b"ray_fraud.domain.rejection.Rejection",
        "dlq.error.code": b"out_of_range",
        "dlq.error.field": b"amount",
        "dlq.error.message": b"amount: -1 is below 0 in base currency",
        "dlq.app.version": __version__.encode(),
        "dlq.attempts": b"1",
    }
    assert uuid.UUID(identity.decode()) == correlation_id("transactions", 2, 17)


def test_the_records_own_headers_come_first_and_stay_as_they_are() -> None:
    own = (("traceparent", b"\x00\xff"), ("traceparent", b"again"), ("dlq.topic", b"an earlier life"))
    headers = letter_of(dead_letter(b"x", own), "transactions", 0, LIMIT, attempts=3).headers
    assert headers[:3] == own
    assert headers[3] == ("dlq.topic", b"transactions")
    assert ("dlq.attempts", b"3") in headers


def test_null_headers_and_names_of_any_bytes_are_kept() -> None:
    own = (("a", None), ("\udcff", b"x"), ("b", None))
    kept = letter(b"x", own)
    assert kept.headers[:3] == own
    assert dict(kept.headers)["dlq.headers.null"] == b"0,2"


def test_a_record_without_key_and_value_can_be_sent() -> None:
    kept = letter(None, key=None)
    assert (kept.key, kept.value) == (None, b"")
    assert dict(kept.headers)["dlq.value.null"] == b"true"


def test_the_identity_is_the_place_in_the_log() -> None:
    places = [(topic, partition, offset) for topic in ("a", "b") for partition in (0, 1) for offset in (0, 1)]
    assert len({correlation_id(*place) for place in places}) == len(places)
    again = dict(letter_of(dead_letter(b"other bytes"), "transactions", 2, LIMIT).headers)
    first = dict(letter_of(dead_letter(b""), "transactions", 2, LIMIT).headers)
    assert again["dlq.correlation_id"] == first["dlq.correlation_id"]


def test_a_long_message_is_cut() -> None:
    rejection = Rejection(RejectionCode.NOT_JSON, "", "é" * 2_000)
    headers = dict(letter_of(DeadLetter(Record(0, 0, None, b""), rejection), "t", 0, LIMIT).headers)
    message = headers["dlq.error.message"]
    assert message is not None
    assert len(message) <= 512
    message.decode()


@pytest.mark.parametrize("case", POISON, ids=lambda case: case.name)
def test_poison_travels_byte_for_byte_but_for_card_numbers(case: PoisonCase) -> None:
    kept = letter_of(dead_letter(case.value), "transactions", 0, LIMIT)
    notes = {name for name, _ in kept.headers if name.startswith(("dlq.value", "dlq.key", "dlq.headers"))}
    if case.value is None or case.code is not RejectionCode.BAD_CARD_NUMBER:
        assert kept.value == case.value
        assert not notes
    else:
        assert kept.value is not None
        assert len(kept.value) == len(case.value)
        assert CARD_NUMBER.encode() not in kept.value.replace(b" ", b"").replace(b".", b"")
        assert notes <= {"dlq.value.masked"}
    assert len(kept.headers) >= 9
    assert all(CARD_NUMBER.encode() not in (text or b"") for _, text in kept.headers)


def test_key_and_headers_are_masked_and_plain_numbers_stay() -> None:
    card = CARD_NUMBER.encode()
    kept = letter(b"x", ((CARD_NUMBER, card), ("at", b"1700000000004"), ("card_number", b"12345")), key=card)
    assert kept.key == b"411111******1111"
    assert kept.headers[:3] == (
        ("411111******1111", b"411111******1111"),
        ("at", b"1700000000004"),
        ("card_number", b"*****"),
    )
    notes = dict(kept.headers)
    assert notes["dlq.key.masked"] == notes["dlq.headers.masked"] == b"true"
    for key in (b"42", b"9223372036854775807", b"4111111111111112", b"user-7"):
        assert letter(b"x", key=key).key == key


def test_a_value_that_does_not_fit_is_cut_and_says_what_it_was() -> None:
    value = changed(card_number=CARD_NUMBER, note="x" * 5_000)
    kept = letter(value, limit=2_000)
    masked = value.replace(CARD_NUMBER.encode(), b"411111******1111")
    assert kept.value
    assert masked.startswith(kept.value)
    notes = dict(kept.headers)
    assert notes["dlq.value.size"] == str(len(value)).encode()
    assert notes["dlq.value.truncated"] == notes["dlq.value.masked"] == b"true"
    hidden = re.sub(rb"[0-9]", b"*", value)
    assert notes["dlq.value.sha256"] == hashlib.sha256(hidden).hexdigest().encode()


def test_what_the_reader_has_cut_is_told_by_its_sizes() -> None:
    cut = Cut(value_size=40_000_000, value_sha256=b"\1" * 32, key_size=3, header_count=9, headers_size=900)
    rejection = Rejection(RejectionCode.TOO_LARGE, "", "value has 40000000 bytes")
    record = Record(3, 0, b"key", b'{"n":"41111111111', (("a", b"b"),), cut)
    kept = letter_of(DeadLetter(record, rejection), "t", 0, LIMIT)
    assert kept.value == b'{"n":"***********'
    notes = dict(kept.headers)
    assert notes["dlq.value.size"] == b"40000000"
    assert notes["dlq.value.sha256"] == b"01" * 32
    assert notes["dlq.headers.count"] == b"9"
    assert notes["dlq.headers.size"] == b"900"
    assert "dlq.key.size" not in notes


sized = st.integers(0, 40) | st.integers(0, 5_000)
own_headers = st.lists(st.tuples(sized, st.none() | sized), max_size=12) | st.just([(1, 1)] * 1_000)


@given(
    key=st.none() | sized,
    value=st.none() | sized | st.just(70_000),
    headers=own_headers,
    limit=st.integers(SMALLEST_LIMIT_BYTES, 12_000),
    topic=st.sampled_from(["t", "t" * 249]),
)
def test_a_letter_always_fits(
    key: int | None, value: int | None, headers: list[tuple[int, int | None]], limit: int, topic: str
) -> None:
    record = Record(
        2**63 - 1,
        -(2**62),
        None if key is None else b"k" * key,
        None if value is None else b"4" * value,
        tuple(("h" * name, None if text is None else b"5" * text) for name, text in headers),
    )
    rejection = Rejection(RejectionCode.TIMESTAMP_IN_MILLISECONDS, "location.country", "m" * 600)
    kept = letter_of(DeadLetter(record, rejection), topic, 2**31 - 1, limit)
    size = batch_bytes(kept.key, kept.value, kept.headers)
    assert size <= limit
    names = [name for name, _ in kept.headers]
    for name in ("topic", "partition", "offset", "timestamp", "error.code", "correlation_id"):
        assert f"dlq.{name}" in names
    told = dict(kept.headers)
    for part, whole, left in (("value", record.value, kept.value), ("key", record.key, kept.key)):
        if whole is not None and len(left or b"") < len(whole):
            assert told[f"dlq.{part}.size"] == str(len(whole)).encode()
            assert told[f"dlq.{part}.sha256"] == hidden_digits_sha256(whole).encode()
    if batch_bytes(record.key, record.value, record.headers) + 1_400 < limit:
        assert (kept.key, kept.headers[: len(headers)]) == (record.key, record.headers)


any_bytes = st.binary(max_size=120) | st.text('"\\\\:{}[],0123456789 -ucard_number', max_size=120).map(
    str.encode
)
any_name = st.binary(max_size=20).map(lambda name: name.decode("utf-8", "surrogateescape"))


@given(
    key=st.none() | any_bytes,
    value=st.none() | any_bytes,
    headers=st.lists(st.tuples(any_name, st.none() | any_bytes), max_size=5),
    limit=st.sampled_from([SMALLEST_LIMIT_BYTES, 1_200, 5_000]),
    cut=st.none()
    | st.builds(Cut, st.integers(0, 2**31), st.just(b"") | st.just(b"s" * 32), *[st.integers(0, 2**31)] * 3),
)
def test_any_bytes_make_a_letter(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
    limit: int,
    cut: Cut | None,
) -> None:
    rejection = Rejection(RejectionCode.NOT_JSON, "", "value is not JSON")
    record = Record(1, 1, key, value, tuple(headers), cut)
    kept = letter_of(DeadLetter(record, rejection), "t", 0, limit)
    assert batch_bytes(kept.key, kept.value, kept.headers) <= limit
    assert len(kept.value or b"") <= len(value or b"")
    assert kept.key is not None or kept.value is not None


def test_no_letter_is_made_for_less_than_the_smallest_limit() -> None:
    with pytest.raises(LimitTooSmall, match="must be 1024 or more"):
        letter(b"", limit=SMALLEST_LIMIT_BYTES - 1)
