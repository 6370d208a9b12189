"""The fast decoder and the published JSON Schema accept and refuse the same documents.

What a schema cannot say is left out here, and only that: bytes that are no JSON in UTF-8, size, depth, fields
given twice, NaN, half a surrogate pair, and how an integer is spelled (1.0 is an integer to a schema).
"""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.schemas import SchemaName, schema
from ray_fraud.domain.transaction import Transaction
from tests.corpus.documents import Document, changed_transactions, transactions
from tests.corpus.poison import GOOD, POISON, PoisonCase

KEY = b"a key of the tests, 32 bytes long"
VALIDATOR = jsonschema.Draft202012Validator(schema(SchemaName("transactions", 1)))


def decoder_accepts(document: Any, *, ascii_only: bool = True) -> bool:
    value = json.dumps(document, ensure_ascii=ascii_only).encode()
    return isinstance(Decoder(KEY).decode(value), Transaction)


@given(transactions)
def test_both_accept_valid_documents(document: Document) -> None:
    VALIDATOR.validate(document)
    assert decoder_accepts(document)


@settings(max_examples=300)
@given(document=changed_transactions(), ascii_only=st.booleans())
def test_both_judge_changed_documents_alike(document: Document, ascii_only: bool) -> None:
    spelled_as_float = isinstance(document.get("user_id"), float)
    valid = VALIDATOR.is_valid(document) and not spelled_as_float
    event("valid" if valid else "invalid")
    assert decoder_accepts(document, ascii_only=ascii_only) == valid


@pytest.mark.parametrize("case", [case for case in POISON if case.in_schema], ids=lambda case: case.name)
def test_the_schema_refuses_the_poison_it_can_see(case: PoisonCase) -> None:
    assert case.value is not None
    assert not VALIDATOR.is_valid(json.loads(case.value))


@pytest.mark.parametrize(
    "character", [chr(code) for code in range(0x20)] + ["\x7f", "\xa0", "\u2007", "\u2069", "\ufffc"]
)
@pytest.mark.parametrize("field", ["transaction_id", "channel", "city"])
def test_both_judge_single_characters_alike(field: str, character: str) -> None:
    document: Document = {**GOOD, "location": dict(GOOD["location"])}
    (document["location"] if field == "city" else document)[field] = character
    assert decoder_accepts(document) == VALIDATOR.is_valid(document)
