"""The decoder: what it accepts, what becomes of it, and that nothing makes it raise."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.refusal import find_fault
from ray_fraud.domain.rejection import Rejection, RejectionCode
from ray_fraud.domain.transaction import Location, Transaction
from tests.corpus.documents import Document, changed_transactions, transactions
from tests.corpus.poison import CARD_NUMBER, GOOD, POISON, PoisonCase, changed, encoded, located, spelled

KEY = b"a key of the tests, 32 bytes long"
LIMIT = 65_536


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(KEY)


def accepted(decoder: Decoder, value: bytes) -> Transaction:
    result = decoder.decode(value)
    assert isinstance(result, Transaction), result
    return result


def refused(decoder: Decoder, value: bytes | None) -> Rejection:
    result = decoder.decode(value)
    assert isinstance(result, Rejection), result
    return result


def test_a_full_transaction_is_decoded(decoder: Decoder) -> None:
    assert accepted(decoder, encoded(GOOD)) == Transaction(
        transaction_id="3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        user_id=42,
        amount=12.5,
        timestamp=1_700_000_000.25,
        location=Location(52.52, 13.405, "Berlin", "DE"),
        merchant_id="m-17",
        device_id="d-4",
        currency="EUR",
        channel="pos",
    )


def test_the_smallest_transaction_is_decoded(decoder: Decoder) -> None:
    value = b'{"transaction_id":"t","user_id":0,"amount":0,"timestamp":946684800}'
    assert accepted(decoder, value) == Transaction("t", 0, 0.0, 946_684_800.0)


@given(document=transactions, ascii_only=st.booleans(), spaced=st.booleans())
def test_valid_documents_round_trip(document: Document, ascii_only: bool, spaced: bool) -> None:
    separators = (", ", " : ") if spaced else (",", ":")
    value = json.dumps(document, ensure_ascii=ascii_only, separators=separators).encode()
    tx = accepted(Decoder(KEY), value)
    for name in ("transaction_id", "user_id", "amount", "timestamp", "merchant_id", "device_id", "currency"):
        assert getattr(tx, name) == document.get(name)
    assert tx.channel == document.get("channel")
    location = document.get("location")
    if location is None:
        assert tx.location is None
    else:
        expected = (location["lat"], location["lon"], location.get("city"), location.get("country"))
        assert tx.location == Location(*expected)
    number = document.get("card_number")
    if number is None:
        assert tx.card is None
    else:
        digits = number.replace(" ", "").replace("-", "")
        assert tx.card is not None
        assert (tx.card.first6, tx.card.last4) == (digits[:6], digits[-4:])


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
@pytest.mark.parametrize("case", POISON, ids=lambda case: case.name)
def test_poison_is_refused_with_code_and_field(case: PoisonCase, key: bytes | None) -> None:
    rejection = refused(Decoder(key), case.value)
    assert (rejection.code, rejection.field) == (case.code, case.field)
    assert rejection.message.startswith(case.field or "value")
    assert len(rejection.message) < 200


def test_the_corpus_is_large_and_covers_every_code() -> None:
    assert len({case.name for case in POISON}) == len(POISON) >= 80
    by_others = {
        RejectionCode.TIMESTAMP_IN_FUTURE,
        RejectionCode.RECORD_TIMESTAMP_UNUSABLE,
        RejectionCode.NOT_AN_ALERT,
        RejectionCode.USER_ID_TAKEN,
    }
    assert {case.code for case in POISON} == set(RejectionCode) - by_others


def test_messages_name_field_value_and_rule(decoder: Decoder) -> None:
    messages = {
        located(lat=90.0000001): "location.lat: 90.0000001 is above 90 degrees",
        changed(user_id=-1): "user_id: -1 is below 0",
        spelled("amount", "NaN"): "amount: is NaN; JSON has no such value",
        changed(timestamp=1_700_000_000_250): (
            "timestamp: 1700000000250 looks like milliseconds or finer; send unix seconds"
        ),
    }
    assert {value: refused(decoder, value).message for value in messages} == messages


@given(st.none() | st.binary(max_size=200))
@example(b"\0")
@example(b'"')
def test_no_bytes_make_it_raise(value: bytes | None) -> None:
    refused(Decoder(None), value)


# fmt: off
_pieces = st.sampled_from([
    b"", b'"', b"\\", b"\\u00", b"\\ud83d", b"{", b"}", b"[", b",", b":", b" ", b"\xff", b"\xed\xa0\x80",
    b"\0", b"\x7f", b"NaN", b"null", b"9" * 30, b'"amount":1,', rb'"\u0061mount":1,', b'"location":null,',
    b'"lat":2,', b'"x":"\xc3\xa9",', rb'"x":"\ud800",', b'"y":{"user_id":1},',
    b'"x":' + b"[" * 40 + b"]" * 40 + b",",
])
# fmt: on


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A document (valid or not) with pieces of bytes put in, or over some of its own."""
    value = json.dumps(draw(changed_transactions()), ensure_ascii=draw(st.booleans())).encode()
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(value)) | st.just(1))
        end = start + draw(st.integers(0, 3))
        value = value[:start] + draw(_pieces) + value[end:]
    return value


@given(damaged())
def test_fast_and_thorough_reading_agree(value: bytes) -> None:
    fault = find_fault(value, LIMIT, card_key_set=True)
    result = Decoder(KEY).decode(value)
    assert fault == (result if isinstance(result, Rejection) else None)


@given(document=transactions, extra=st.sampled_from(list(GOOD)))
def test_a_field_given_twice_is_always_found(document: Document, extra: str) -> None:
    value = json.dumps(document).encode()
    if extra in document:
        doubled = value[:-1] + b"," + json.dumps({extra: document[extra]}).encode()[1:]
        rejection = refused(Decoder(KEY), doubled)
        assert (rejection.code, rejection.field) == (RejectionCode.DUPLICATE_KEY, extra)


@pytest.mark.parametrize(
    "extra",
    [
        b'"terminal":"T-9"',
        b'"note":"at 12:30, \\"quoted\\""',
        '"name":"Jos\u00e9"'.encode(),
        b'"name":"Jos\\u00e9 \\ud83d\\ude00"',
        b'"card":{"token":1}',
        b'"basket":[{"amount":1,"lat":2},{"amount":3}]',
        b'"x":1,"x":2',
        b'"x":1e999',
        b'"x":' + b"9" * 5_000,
        b'"x":' + b"[" * 31 + b"]" * 31,
        b'"x":"\\u0000"',
    ],
    ids=lambda extra: extra[:30].decode(),
)
def test_unknown_fields_are_ignored(decoder: Decoder, extra: bytes) -> None:
    assert decoder.decode(encoded(GOOD)[:-1] + b"," + extra + b"}") == decoder.decode(encoded(GOOD))


def test_null_means_absent(decoder: Decoder) -> None:
    optional = ("location", "merchant_id", "device_id", "currency", "channel", "card_number")
    value = changed(**dict.fromkeys(optional))
    required = {name: GOOD[name] for name in ("transaction_id", "user_id", "amount", "timestamp")}
    assert decoder.decode(value) == decoder.decode(encoded(required))


@pytest.mark.parametrize(
    ("field", "text", "read"),
    [
        ("amount", "-0.0", "0.0"),
        ("amount", "-1e-400", "0.0"),
        ("amount", "5e-324", "5e-324"),
        ("amount", "1E2", "100.0"),
        ("amount", "1e15", "1000000000000000.0"),
        ("user_id", "9223372036854775807", "9223372036854775807"),
        ("user_id", "-0", "0"),
        ("timestamp", "99999999999.99", "99999999999.99"),
        ("timestamp", "946684800", "946684800.0"),
    ],
)
def test_numbers_at_the_edge_are_read(decoder: Decoder, field: str, text: str, read: str) -> None:
    assert repr(getattr(accepted(decoder, spelled(field, text)), field)) == read


def test_the_poles_and_the_date_line_are_places(decoder: Decoder) -> None:
    for lat, lon in ((90, 180), (-90, -180), (0, 0)):
        assert accepted(decoder, located(lat=lat, lon=lon)).location == Location(lat, lon, "Berlin", "DE")


def test_names_may_hold_what_their_script_needs(decoder: Decoder) -> None:
    for name in ("São Paulo", "می\u200cخواهم", "Tel\u200eAviv", "東京", "Saint\u00a0Denis"):
        location = accepted(decoder, located(city=name)).location
        assert location is not None
        assert location.city == name


def test_a_limit_is_inclusive() -> None:
    value = encoded(GOOD)
    assert isinstance(Decoder(None, len(value)).decode(value), Transaction)
    assert refused(Decoder(None, len(value) - 1), value).code is RejectionCode.TOO_LARGE


def test_settings_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="max_value_bytes is 0"):
        Decoder(None, 0)
    with pytest.raises(ValueError, match="card key has 3 bytes") as caught:
        Decoder(b"abc")
    assert "abc" not in str(caught.value)


def test_without_a_key_a_card_number_is_refused() -> None:
    rejection = refused(Decoder(None), changed(card_number=CARD_NUMBER))
    assert (rejection.code, rejection.field) == (RejectionCode.BAD_CARD_NUMBER, "card_number")
    assert "set the card key" in rejection.message


@pytest.mark.parametrize("field", [*GOOD, "card_number"])
@pytest.mark.parametrize(
    "written", [CARD_NUMBER, int(CARD_NUMBER), "4111 1111 1111 1111", CARD_NUMBER + "\0" + "y" * 70]
)
def test_a_card_number_in_any_field_stays_out_of_the_refusal(field: str, written: Any) -> None:
    for key in (None, KEY):
        for broken in (changed(**{field: written}), changed(**{field: written, "amount": -1})):
            result = Decoder(key).decode(broken)
            if isinstance(result, Rejection):
                assert CARD_NUMBER not in repr(result).replace(" ", "")


@pytest.mark.parametrize("location", [{"lat": 999, "lon": 999}, {"lat": 5, "lon": -999.5}])
def test_a_stand_in_for_an_unknown_place_is_refused_with_what_to_do(location: dict[str, float]) -> None:
    value = {
        "transaction_id": "t",
        "user_id": 1,
        "amount": 1,
        "timestamp": 1_700_000_000,
        "location": location,
    }
    found = Decoder(None).decode(json.dumps(value).encode())
    assert isinstance(found, Rejection)
    assert found.code is RejectionCode.OUT_OF_RANGE
    assert found.message.endswith("degrees; leave the location out if it is not known")
