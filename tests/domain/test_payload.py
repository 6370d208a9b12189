"""Payload digest and id hash: the bytes of docs/semantics.md, and what they depend on."""

import hashlib
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.payload import id_hash, payload_digest
from ray_fraud.domain.transaction import CardToken, Location, Transaction
from tests.corpus.documents import Document, transactions

FULL = Transaction("tx-1", 300, 1.5, 1.7e9, Location(-0.5, 2.0, "Köln", "DE"), "m", "d", "EUR", "pos")


def text(value: str) -> bytes:
    """A short text in MessagePack, written by hand."""
    encoded = value.encode()
    return bytes([0xA0 | len(encoded)]) + encoded


def float64(value: float) -> bytes:
    return b"\xcb" + struct.pack(">d", value)


def test_the_digest_is_that_of_the_documented_array() -> None:
    array = b"".join(
        [
            b"\x9c",
            text("tx-1"),
            b"\xcd\x01\x2c",
            *(float64(value) for value in (1.5, 1.7e9, -0.5, 2.0)),
            *(text(value) for value in ("Köln", "DE", "m", "d", "EUR", "pos")),
        ]
    )
    assert payload_digest(FULL) == hashlib.blake2b(array, digest_size=16).digest()


def test_absent_fields_are_nil() -> None:
    array = b"\x9c" + text("t") + b"\x07" + float64(0.0) + float64(1e9) + b"\xc0" * 8
    assert payload_digest(Transaction("t", 7, 0.0, 1e9)) == hashlib.blake2b(array, digest_size=16).digest()


def test_whole_numbers_count_as_floats() -> None:
    whole = Transaction("t", 7, 5, 1_000_000_000, Location(1, 2))
    assert payload_digest(whole) == payload_digest(Transaction("t", 7, 5.0, 1e9, Location(1.0, 2.0)))


def test_the_card_takes_no_part() -> None:
    assert payload_digest(
        msgspec.structs.replace(FULL, card=CardToken("ab", "411111", "1111"))
    ) == payload_digest(FULL)


@pytest.mark.parametrize(
    "change",
    [
        {"transaction_id": "tx-2"},
        {"user_id": 301},
        {"amount": 1.25},
        {"timestamp": 1.7e9 + 0.001},
        {"location": None},
        {"location": Location(-0.5, 2.5, "Köln", "DE")},
        {"location": Location(-0.5, 2.0, None, "DE")},
        {"location": Location(-0.5, 2.0, "DE", "Köln")},
        {"merchant_id": None},
        {"merchant_id": "d", "device_id": "m"},
        {"currency": "USD"},
        {"channel": "atm"},
    ],
    ids=str,
)
def test_every_other_field_takes_part(change: dict[str, Any]) -> None:
    assert payload_digest(msgspec.structs.replace(FULL, **change)) != payload_digest(FULL)


@given(transactions)
def test_spelling_and_order_of_a_document_make_no_difference(document: Document) -> None:
    decoder = Decoder(bytes(32))
    backwards = dict(reversed(document.items()))
    first = decoder.decode(msgspec.json.encode(document))
    second = decoder.decode(msgspec.json.format(msgspec.json.encode(backwards), indent=4))
    assert isinstance(first, Transaction)
    assert isinstance(second, Transaction)
    assert payload_digest(first) == payload_digest(second)
    assert len(payload_digest(first)) == 16


def test_the_id_hash_is_four_bytes_of_the_utf8_id() -> None:
    assert id_hash("tx-é") == hashlib.blake2b("tx-é".encode(), digest_size=4).digest()
    assert len(id_hash("")) == 4
