"""One acceptance and one replay: what a record is, is decided in one place, and folded in one loop."""

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ray_fraud.domain.accept import accept
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.payload import payload_digest
from ray_fraud.domain.record import Cut, DecodedRecord, Record
from ray_fraud.domain.rejection import Rejection, RejectionCode
from ray_fraud.domain.settings import DetectionSettings

ROOT = Path(__file__).parents[2]
PACKAGES = ("ray_fraud", "actors", "serve", "batch", "cluster")
NOW_MS = 1_767_225_600_000
_decode = Decoder(None).decode


def record(seconds: float, **more: object) -> Record:
    value = {"transaction_id": "t", "user_id": 7, "amount": 1.5, "timestamp": seconds, **more}
    return Record(3, NOW_MS, None, msgspec.json.encode(value))


def test_an_accepted_record_has_its_place_its_time_and_its_digest() -> None:
    found = accept(record(NOW_MS / 1000), _decode, DetectionSettings())
    assert isinstance(found, DecodedRecord)
    assert (found.offset, found.timestamp_ms, found.transaction.amount) == (3, NOW_MS, 1.5)
    assert found.digest == payload_digest(found.transaction)


def test_the_refusal_of_a_value_that_the_reader_cut_names_its_whole_size() -> None:
    cut = Record(3, NOW_MS, None, b"x" * 70_000, (), Cut(40_000_000, b"", 0, 0, 0))
    found = accept(cut, _decode, DetectionSettings())
    assert isinstance(found, Rejection)
    assert found.code is RejectionCode.TOO_LARGE
    assert "has 40000000 bytes; the limit is 65536" in found.message


def test_a_value_that_breaks_the_contract_is_refused_with_the_decoder_s_reason() -> None:
    found = accept(record(NOW_MS / 1000, amount=-1), _decode, DetectionSettings())
    assert isinstance(found, Rejection)
    assert found == _decode(record(NOW_MS / 1000, amount=-1).value)


@pytest.mark.parametrize(("ahead_ms", "taken"), [(60_000, True), (60_001, False)])
def test_how_far_ahead_of_its_kafka_timestamp_a_transaction_may_lie_is_a_setting(
    ahead_ms: int, taken: bool
) -> None:
    found = accept(
        record((NOW_MS + ahead_ms) / 1000), _decode, DetectionSettings(max_future_skew_seconds=60.0)
    )
    assert isinstance(found, DecodedRecord) is taken
    if isinstance(found, Rejection):
        assert found.code is RejectionCode.TIMESTAMP_IN_FUTURE
        assert "60.001 s later" in found.message
        assert "60 s are allowed" in found.message


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))


def test_only_accept_compares_a_transaction_with_its_kafka_timestamp() -> None:
    """Whoever else reads the setting decides a second time what a transaction is."""
    users = {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "max_future_skew_seconds"
    }
    assert users == {"ray_fraud/domain/accept.py"}


def folding_loops(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls of a state's `observe` that some loop repeats."""
    loops = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
    for loop in ast.walk(tree):
        if isinstance(loop, loops):
            for node in ast.walk(loop):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    of_a_state = "state" in ast.unparse(node.func.value).rpartition(".")[2]
                    if of_a_state and node.func.attr in ("observe", "observe_decoded"):
                        yield node


def test_a_loop_over_observe_is_seen() -> None:
    for code in ("while rest:\n    self.state.observe(rest)", "[state.observe_decoded(x) for x in y]"):
        assert len(list(folding_loops(ast.parse(code)))) == 1
    assert not list(folding_loops(ast.parse("meter.observe(x)\nstate.observe(y)")))


def test_only_the_replay_s_loop_folds_records() -> None:
    """Whoever repeats `observe` by hand decides a second time where a batch ends and where a gap goes on."""
    users = {name for name, tree in modules() if list(folding_loops(tree))}
    assert users == set()
