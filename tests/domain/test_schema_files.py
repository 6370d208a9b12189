"""The schema files: well-formed, equal to the code's limits, and describing what the code writes."""

import json
import uuid
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest

from ray_fraud.domain import contract
from ray_fraud.domain.alert import HOT_RULES, Alert, RuleName, Severity, Source, alert_uid
from ray_fraud.domain.explanation import explanation
from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.domain.schemas import SchemaName, schema, schema_names, schema_text

TRANSACTIONS = SchemaName("transactions", 1)
ALERTS = SchemaName("alerts", 1)
LABELS = SchemaName("labels", 1)

ALERT = Alert(
    alert_uid=alert_uid("tx-1", 42, RuleName.HIGH_AMOUNT, bytes(16)),
    transaction_id="tx-1",
    user_id=42,
    rule_name=RuleName.HIGH_AMOUNT,
    severity=Severity.MEDIUM,
    reason="2,500.00 is above the limit 2,000.00",
    event_time=1_700_000_000.5,
    record_timestamp_ms=1_700_000_000_600,
    partition=0,
    offset=17,
    lat=52.5,
    lon=13.4,
    score=None,
    model_version=None,
    source=Source.HOT,
    details={"features": {"amount": 2500.0}},
)
EXPLANATION = explanation(
    np.array([1.0, -0.5, 0.25, *[0.0] * (FEATURE_COUNT - 3)]),
    np.array([2500.0, *[np.nan] * (FEATURE_COUNT - 1)], np.float32),
)
LABEL = {
    "transaction_id": "tx-1",
    "user_id": 42,
    "is_fraud": True,
    "scenario": "stolen_card",
    "timestamp": 1.7e9,
}


def validator(name: SchemaName) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema(name))


@pytest.mark.parametrize("name", schema_names(), ids=lambda name: name.file_name)
def test_each_file_is_a_schema_that_names_itself(name: SchemaName) -> None:
    parsed = schema(name)
    jsonschema.Draft202012Validator.check_schema(parsed)
    assert parsed["$id"] == f"urn:ray-fraud:schema:{name.topic}:{name.version}"
    assert schema_text(name).isascii()


def test_versions_of_a_topic_have_no_gap() -> None:
    names = schema_names()
    assert {TRANSACTIONS, ALERTS, LABELS} <= set(names)
    for topic in {name.topic for name in names}:
        versions = [name.version for name in names if name.topic == topic]
        assert versions == list(range(1, len(versions) + 1))


def test_an_unknown_schema_is_refused_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"no schema payments-v1\.schema\.json; there are .*transactions-v1"):
        schema(SchemaName("payments", 1))


def test_the_transaction_schema_states_the_limits_of_the_code() -> None:
    properties = schema(TRANSACTIONS)["properties"]
    location = properties["location"]["properties"]
    assert properties["user_id"]["maximum"] == contract.MAX_USER_ID
    assert properties["amount"]["maximum"] == contract.MAX_AMOUNT
    assert properties["timestamp"]["minimum"] == contract.MIN_TIMESTAMP
    assert properties["timestamp"]["exclusiveMaximum"] == contract.MILLISECONDS_FROM
    lengths = {
        name: field["maxLength"] for name, field in {**properties, **location}.items() if "maxLength" in field
    }
    assert lengths == {
        "transaction_id": contract.MAX_ID_LENGTH,
        "merchant_id": contract.MAX_ID_LENGTH,
        "device_id": contract.MAX_ID_LENGTH,
        "currency": contract.MAX_CURRENCY_LENGTH,
        "channel": contract.MAX_CHANNEL_LENGTH,
        "city": contract.MAX_CITY_LENGTH,
        "country": contract.MAX_COUNTRY_LENGTH,
    }


def test_a_printable_text_holds_no_forbidden_character() -> None:
    """The decoder's short cut: what `str.isprintable` accepts needs no search for forbidden characters."""
    printable = [character for code in range(0x110000) if (character := chr(code)).isprintable()]
    assert not any(contract.forbidden_in_identifier(character) for character in printable)


def test_names_allow_more_than_identifiers() -> None:
    for code in range(0x110000):
        if contract.forbidden_in_name(chr(code)):
            assert contract.forbidden_in_identifier(chr(code)), hex(code)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"lat": None, "lon": None},
        {"score": 0.71, "model_version": "isolation_forest:1", "rule_name": RuleName.ML_ANOMALY},
        {"source": Source.COLD, "severity": Severity.CRITICAL, "details": {}},
        {"details": {"explanation": EXPLANATION}},
    ],
    ids=str,
)
def test_alerts_as_the_code_writes_them_keep_their_schema(change: dict[str, Any]) -> None:
    validator(ALERTS).validate(json.loads(msgspec.json.encode(msgspec.structs.replace(ALERT, **change))))


def test_the_alert_schema_knows_every_field_and_name_of_the_code() -> None:
    parsed = schema(ALERTS)
    assert set(parsed["required"]) == set(parsed["properties"]) == set(Alert.__struct_fields__)
    assert tuple(parsed["properties"]["rule_name"]["enum"]) == HOT_RULES
    assert set(parsed["properties"]["severity"]["enum"]) == set(Severity)
    assert set(parsed["properties"]["source"]["enum"]) == set(Source)


@pytest.mark.parametrize(
    "change",
    [
        {"alert_uid": "17"},
        {"alert_uid": str(uuid.UUID(int=0))},
        {"rule_name": "gut_feeling"},
        {"severity": "MEDIUM"},
        {"user_id": "42"},
        {"user_id": -1},
        {"lat": 91},
        {"details": None},
        {"details": {"explanation": EXPLANATION * 2}},
        {"details": {"explanation": [{**EXPLANATION[0], "contribution": "large"}]}},
        {"details": {"explanation": [{"feature": "amount"}]}},
        {"reason": ""},
        {"schema_version": 2},
    ],
    ids=str,
)
def test_the_alert_schema_refuses(change: dict[str, Any]) -> None:
    document = {**json.loads(msgspec.json.encode(ALERT)), **change}
    assert not validator(ALERTS).is_valid(document)


@pytest.mark.parametrize("scenario", schema(LABELS)["properties"]["scenario"]["enum"])
def test_labels_keep_their_schema(scenario: str) -> None:
    validator(LABELS).validate({**LABEL, "scenario": scenario, "is_fraud": scenario != "none"})


@pytest.mark.parametrize(
    "change",
    [
        {"scenario": "bad luck"},
        {"is_fraud": 1},
        {"timestamp": 1.7e12},
        {"user_id": None},
        {"transaction_id": ""},
    ],
    ids=str,
)
def test_the_label_schema_refuses(change: dict[str, Any]) -> None:
    assert not validator(LABELS).is_valid({**LABEL, **change})
