"""What is written is the published contract, in the layout that prepared records rely on."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ray_fraud.domain
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.transaction import Location, Transaction
from ray_fraud.generator.encode import (
    ID_SLOT,
    TIMESTAMP_SLOT,
    encode_key,
    encode_label,
    encode_transaction,
)
from ray_fraud.generator.stream import StreamSettings, transactions
from ray_fraud.generator.transaction import Label, Scenario

SCHEMAS = Path(ray_fraud.domain.__file__).parent / "schemas"
STREAM = list(transactions(StreamSettings(1_767_225_600.0, users=100, count=2000, fraud_share=0.3)))


def test_every_field_of_a_transaction_is_written() -> None:
    for made in STREAM[:500]:
        expected = {
            name: value
            for name, value in msgspec.to_builtins(made.transaction).items()
            if value is not None and name != "location"
        }
        location = {
            name: value
            for name, value in msgspec.to_builtins(made.transaction.location).items()
            if value is not None
        }
        assert json.loads(encode_transaction(made.transaction)) == expected | {"location": location}


@given(
    st.floats(1e9, 9_999_999_999).map(lambda seconds: round(seconds, 3)),
    st.uuids(version=4).map(str),
    st.integers(0, 2**63 - 1),
    st.none() | st.builds(Location, st.floats(-90, 90), st.floats(-180, 180), st.none(), st.none()),
)
def test_time_and_id_have_their_slots(
    timestamp: float, identity: str, user: int, location: Location | None
) -> None:
    value = encode_transaction(Transaction(identity, user, 12.5, timestamp, location))
    assert float(value[TIMESTAMP_SLOT]) == timestamp
    assert value[ID_SLOT] == identity.encode()
    assert json.loads(value)["user_id"] == user


def test_the_key_is_the_user_id_as_text() -> None:
    assert encode_key(4711) == b"4711"


def test_a_label_is_plain_json() -> None:
    assert json.loads(encode_label(Label("t", 7, True, Scenario.CARD_TESTING, 1.5))) == {
        "transaction_id": "t",
        "user_id": 7,
        "is_fraud": True,
        "scenario": "card_testing",
        "timestamp": 1.5,
    }
    assert json.loads(encode_label(Label("t", 7, False, "none", 1.5)))["scenario"] == "none"


def test_everything_written_is_accepted_and_read_as_it_was_meant() -> None:
    decoder = Decoder(None)
    for made in STREAM:
        assert decoder.decode(encode_transaction(made.transaction)) == made.transaction


@pytest.mark.parametrize(
    ("kind", "name"),
    [("transaction", "transactions-v1"), ("transaction", "transactions-v2"), ("label", "labels-v1")],
)
def test_everything_written_obeys_the_published_schema(kind: str, name: str) -> None:
    file = SCHEMAS / f"{name}.schema.json"
    validator = jsonschema.validators.validator_for(schema := json.loads(file.read_text()))(schema)
    for made in STREAM[::4]:
        value = encode_transaction(made.transaction) if kind == "transaction" else encode_label(made.label)
        validator.validate(json.loads(value))
