"""The splits that a process holds: bounded, shared models, failures that leave the rest alone."""

from threading import Thread

import numpy as np
import pytest

from ray_fraud.stores.models.memory import MemoryModelFiles
from ray_fraud.stores.models.port import ModelMissing, StoredModel
from serve.loaded_splits import LoadedSplits
from tests.scoring.sample_models import model_files, rows, split, trained


class CountingFiles(MemoryModelFiles):
    """Model files that count how often each is read."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []

    def load(self, digest: str) -> StoredModel:
        self.loads.append(digest)
        return super().load(digest)


def counting() -> CountingFiles:
    files = CountingFiles()
    for version in (1, 2):
        files.put(*trained(version))
    return files


def test_a_split_is_held_after_loading() -> None:
    splits = LoadedSplits(model_files(1))
    wanted = split(10_000)
    assert splits.get(wanted.digest) is None
    assert splits.load(wanted) is splits.get(wanted.digest) is splits.load(wanted)


def test_weights_change_without_reading_a_model_again() -> None:
    files = counting()
    splits = LoadedSplits(files)
    for share_bp in (1_000, 2_000, 3_000):
        splits.load(split(10_000 - share_bp, share_bp))
    assert len(files.loads) == 2


def test_the_least_recently_used_split_goes_first() -> None:
    splits = LoadedSplits(model_files(1), limit=2)
    first, second, third = (split(10_000, salt=salt) for salt in "abc")
    splits.load(first)
    splits.load(second)
    splits.get(first.digest)
    splits.load(third)
    assert splits.digests == [first.digest, third.digest]


def test_a_model_that_no_split_needs_is_let_go() -> None:
    files = counting()
    splits = LoadedSplits(files, limit=1)
    for shares in ((9_000, 1_000), (10_000,), (9_000, 1_000)):
        splits.load(split(*shares))
    assert len(files.loads) == 3


def test_what_only_scores_has_the_same_scores_and_explains_nothing() -> None:
    wanted, features = split(9_000, 1_000), rows(20, 1)
    whole, scoring = LoadedSplits(model_files(1, 2)), LoadedSplits(model_files(1, 2), explains=False)
    ids = np.arange(20)
    scores = [splits.load(wanted).score(ids, features) for splits in (whole, scoring)]
    assert scores[0].values.tobytes() == scores[1].values.tobytes()
    assert whole.explain(wanted, 1, features[0]) is not None
    assert scoring.explain(wanted, 1, features[0]) is None


def test_a_failure_leaves_what_is_held() -> None:
    splits = LoadedSplits(model_files(1))
    held = splits.load(split(10_000))
    with pytest.raises(ModelMissing):
        splits.load(split(9_000, 1_000))
    assert splits.get(split(10_000).digest) is held


def test_many_threads_load_each_model_once() -> None:
    files = counting()
    splits = LoadedSplits(files)
    answers: list[bytes] = []
    features, wanted = rows(20, 1), split(9_000, 1_000)

    def work() -> None:
        answers.append(splits.load(wanted).score(np.arange(20), features).values.tobytes())

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(files.loads) == 2
    assert len(answers) == 8
    assert len(set(answers)) == 1
