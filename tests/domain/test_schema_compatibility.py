"""A new version of a contract reads what every older one wrote.

`tests/corpus/written/<topic>-v<n>.jsonl` holds documents as version n wrote them, one a line, and is never
edited once that version is published; a new version adds a file of its own.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from ray_fraud.domain.alert import Alert
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.schemas import SchemaName, schema, schema_names
from ray_fraud.domain.text_users import TextUsers
from ray_fraud.domain.transaction import Transaction

WRITTEN = Path(__file__).parents[1] / "corpus" / "written"
KEY = hashlib.sha256(b"card key of the tests").digest()


def documents(name: SchemaName) -> list[bytes]:
    """What a version wrote, one JSON document each."""
    return (WRITTEN / f"{name.topic}-v{name.version}.jsonl").read_bytes().splitlines()


PAIRS = [
    (writer, reader)
    for writer in schema_names()
    for reader in schema_names()
    if writer.topic == reader.topic and writer.version <= reader.version
]


@pytest.mark.parametrize("name", schema_names(), ids=lambda name: name.file_name)
def test_every_version_has_documents_with_and_without_each_optional_field(name: SchemaName) -> None:
    parsed = schema(name)
    written = [json.loads(document) for document in documents(name)]
    for field in set(parsed["properties"]):
        assert any(field in document for document in written), f"{name.file_name}: no document has {field}"
        if field not in parsed["required"]:
            assert any(field not in document for document in written), f"{name.file_name}: all have {field}"


@pytest.mark.parametrize(("writer", "reader"), PAIRS, ids=lambda name: f"{name.topic}-v{name.version}")
def test_a_schema_accepts_what_older_versions_wrote(writer: SchemaName, reader: SchemaName) -> None:
    validator = jsonschema.Draft202012Validator(schema(reader))
    for document in documents(writer):
        validator.validate(json.loads(document))


def read_with_the_code(name: SchemaName, document: bytes) -> dict[str, Any]:
    """The fields of a document as the reader of its topic sees them."""
    topic = name.topic
    if topic == "transactions":
        # With a user key numbers end earlier; without one there are no texts.
        tx = Decoder(KEY, users=TextUsers(KEY) if name.version > 1 else None).decode(document)
        assert isinstance(tx, Transaction), tx
        read = msgspec.structs.asdict(tx)
        return read if tx.user_text is None else {**read, "user_id": tx.user_text}
    if topic == "alerts":
        return msgspec.structs.asdict(msgspec.json.decode(document, type=Alert))
    assert topic == "labels", f"say here how documents of {topic} are read"
    return dict(json.loads(document))


@pytest.mark.parametrize("name", schema_names(), ids=lambda name: name.file_name)
def test_the_code_reads_what_every_version_wrote(name: SchemaName) -> None:
    for document in documents(name):
        read = read_with_the_code(name, document)
        written = json.loads(document)
        assert (read["transaction_id"], read["user_id"]) == (written["transaction_id"], written["user_id"])
