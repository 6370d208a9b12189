"""Dead letters: every refused record keeps its bytes and headers and says where it was and why."""

import hashlib
import json
import uuid

import pytest

from ray_fraud import __version__
from ray_fraud.domain.dead_letter import correlation_id, dlq_headers, dlq_value
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import Record
from ray_fraud.domain.rejection import DeadLetter, Rejection, RejectionCode
from tests.corpus.poison import CARD_NUMBER, POISON, PoisonCase, changed

LIMIT = 1_048_576 + 65_536


def dead_letter(value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> DeadLetter:
    rejection = Decoder(None).decode(value)
    assert isinstance(rejection, Rejection)
    return DeadLetter(Record(17, 1_700_000_000_123, b"42", value, headers), rejection)


def test_the_headers_tell_place_and_reason() -> None:
    headers = dict(dlq_headers(dead_letter(changed(amount=-1)), "transactions", 2))
    identity = headers.pop("dlq.correlation_id")
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
    assert identity is not None
    assert uuid.UUID(identity.decode()) == correlation_id("transactions", 2, 17)


def test_the_records_own_headers_come_first_and_stay_as_they_are() -> None:
    own = (("traceparent", b"\x00\xff"), ("traceparent", b"again"), ("dlq.topic", b"an earlier life"))
    headers = dlq_headers(dead_letter(b"x", own), "transactions", 0, attempts=3)
    assert headers[:3] == own
    assert headers[3] == ("dlq.topic", b"transactions")
    assert ("dlq.attempts", b"3") in headers


def test_the_identity_is_the_place_in_the_log() -> None:
    places = [(topic, partition, offset) for topic in ("a", "b") for partition in (0, 1) for offset in (0, 1)]
    assert len({correlation_id(*place) for place in places}) == len(places)
    again = dlq_headers(dead_letter(b"other bytes"), "transactions", 2)
    assert again[-1] == dlq_headers(dead_letter(b""), "transactions", 2)[-1]


def test_a_long_message_is_cut() -> None:
    rejection = Rejection(RejectionCode.NOT_JSON, "", "é" * 2_000)
    headers = dict(dlq_headers(DeadLetter(Record(0, 0, None, b""), rejection), "t", 0))
    message = headers["dlq.error.message"] or b""
    assert 0 < len(message) <= 512
    message.decode()


@pytest.mark.parametrize("case", POISON, ids=lambda case: case.name)
def test_poison_travels_byte_for_byte_but_for_card_numbers(case: PoisonCase) -> None:
    kept = dlq_value(case.value, LIMIT)
    if case.value is None or case.code is not RejectionCode.BAD_CARD_NUMBER:
        assert kept.value == case.value
        assert kept.headers == ()
    else:
        assert kept.value is not None
        assert len(kept.value) == len(case.value)
        assert CARD_NUMBER.encode() not in kept.value.replace(b" ", b"").replace(b".", b"")
    headers = dlq_headers(dead_letter(case.value), "transactions", 0)
    assert len(headers) >= 9
    assert all(isinstance(text, bytes) and CARD_NUMBER.encode() not in text for _, text in headers)


def test_a_value_over_the_limit_is_cut_and_its_masked_whole_is_hashed() -> None:
    value = changed(card_number=CARD_NUMBER, note="x" * 1_000)
    masked = value.replace(CARD_NUMBER.encode(), b"411111******1111")
    kept = dlq_value(value, 100)
    assert kept.value == masked[:100]
    assert dict(kept.headers) == {
        "dlq.value.masked": b"true",
        "dlq.value.truncated": b"true",
        "dlq.value.size": str(len(value)).encode(),
        "dlq.value.sha256": hashlib.sha256(masked).hexdigest().encode(),
    }
    assert dlq_value(value, len(value)).value == masked


def test_a_cut_through_a_card_number_leaves_nothing_of_it_in_clear() -> None:
    value = json.dumps({"note": CARD_NUMBER}).encode()
    for limit in range(len(value)):
        kept = dlq_value(value, limit).value
        assert kept is not None
        assert sum(octet in b"0123456789" for octet in kept) <= 10


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="limit_bytes is -1"):
        dlq_value(b"", -1)
