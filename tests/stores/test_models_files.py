"""One conformance suite for model files, run on every implementation, and what each adds."""

import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from pyarrow import fs

from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.model import IdentityLink, Manifest, ModelFeature, ModelRefused, Training
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.models.cached import CachedModelFiles
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.models.memory import MemoryModelFiles
from ray_fraud.stores.models.port import ModelFiles, ModelMissing, StoredModel

ONNX = b"some trees"


def manifest_of(onnx: bytes = ONNX, version: int = 1) -> Manifest:
    return Manifest(
        model_name="forest",
        version=version,
        algorithm="random_forest",
        features=(ModelFeature("amount", 1.5),),
        onnx_sha256=content_digest(onnx),
        link=IdentityLink(),
        threshold=0.5,
        training=Training(rows=10, trees=1, seed=1),
    )


STORED = StoredModel(manifest_of(), ONNX)
EXPLAIN = b"covers"
EXPLAINING = StoredModel(
    msgspec.structs.replace(manifest_of(), explain_sha256=content_digest(EXPLAIN)), ONNX, EXPLAIN
)


def lake(folder: Path) -> LakeModelFiles:
    return LakeModelFiles(*lake_filesystem(LakeLocation(folder.as_uri())))


IMPLEMENTATIONS: dict[str, Callable[[Path], ModelFiles]] = {
    "memory": lambda _folder: MemoryModelFiles(),
    "lake": lambda folder: lake(folder / "lake"),
    "cached": lambda folder: CachedModelFiles(lake(folder / "lake"), lake(folder / "copies")),
}


@pytest.fixture(params=[*IMPLEMENTATIONS, pytest.param("s3", marks=pytest.mark.servers)])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> ModelFiles:
    if request.param == "s3":
        return LakeModelFiles(*lake_filesystem(request.getfixturevalue("s3_lake")))
    return IMPLEMENTATIONS[request.param](tmp_path)


class TestEveryImplementation:
    def test_what_was_put_is_loaded(self, files: ModelFiles) -> None:
        digest = files.put(manifest_of(), ONNX)
        assert digest == manifest_of().digest
        assert files.load(digest) == STORED

    def test_putting_it_again_changes_nothing(self, files: ModelFiles) -> None:
        assert files.put(manifest_of(), ONNX) == files.put(manifest_of(), ONNX)
        assert files.load(manifest_of().digest) == STORED

    def test_models_do_not_disturb_each_other(self, files: ModelFiles) -> None:
        digests = [files.put(manifest_of(version=version), ONNX) for version in (1, 2, 3)]
        assert [files.load(digest)[0].version for digest in digests] == [1, 2, 3]

    @pytest.mark.parametrize("digest", ["0" * 64, "", "../../etc", "A" * 64])
    def test_an_unknown_digest_is_missing(self, files: ModelFiles, digest: str) -> None:
        with pytest.raises(ModelMissing, match="no model"):
            files.load(digest)

    def test_a_manifest_of_other_trees_is_refused(self, files: ModelFiles) -> None:
        with pytest.raises(ModelRefused, match="SHA-256"):
            files.put(manifest_of(), b"other trees")
        with pytest.raises(ModelMissing):
            files.load(manifest_of().digest)

    def test_what_explains_a_model_is_kept_with_it(self, files: ModelFiles) -> None:
        digest = files.put(*EXPLAINING)
        assert digest != manifest_of().digest
        assert files.load(digest) == EXPLAINING

    @pytest.mark.parametrize(
        ("model", "rule"),
        [
            (EXPLAINING._replace(explain=b"other covers"), "explain.bin has SHA-256"),
            (EXPLAINING._replace(explain=None), "explain.bin is not there"),
            (STORED._replace(explain=EXPLAIN), "says that it is not there"),
        ],
    )
    def test_a_manifest_of_other_covers_is_refused(
        self, files: ModelFiles, model: StoredModel, rule: str
    ) -> None:
        with pytest.raises(ModelRefused, match=rule):
            files.put(*model)
        with pytest.raises(ModelMissing):
            files.load(model.manifest.digest)


def _damage_onnx(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"other trees")


def _damage_manifest(folder: Path) -> None:
    content = manifest_of().canonical().replace(b'"threshold":0.5', b'"threshold":0.9')
    assert content != manifest_of().canonical()
    (folder / "manifest.json").write_bytes(content)


def _truncate_onnx(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(ONNX[:3])


DAMAGES = [_damage_onnx, _damage_manifest, _truncate_onnx]


class TestLake:
    def test_the_layout_is_the_documented_one(self, tmp_path: Path) -> None:
        digest = lake(tmp_path).put(manifest_of(), ONNX)
        written = sorted(
            path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
        )
        assert written == [f"models/{digest}/manifest.json", f"models/{digest}/model.onnx"]
        assert content_digest((tmp_path / written[0]).read_bytes()) == digest

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_model_is_refused_and_mended_by_put(
        self, tmp_path: Path, damage: Callable[[Path], None]
    ) -> None:
        digest = lake(tmp_path).put(manifest_of(), ONNX)
        damage(tmp_path / "models" / digest)
        with pytest.raises(ModelRefused, match="SHA-256"):
            lake(tmp_path).load(digest)
        lake(tmp_path).put(manifest_of(), ONNX)
        assert lake(tmp_path).load(digest) == STORED

    @pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
    def test_half_a_model_is_missing(self, tmp_path: Path, name: str) -> None:
        digest = lake(tmp_path).put(manifest_of(), ONNX)
        (tmp_path / "models" / digest / name).unlink()
        with pytest.raises(ModelMissing):
            lake(tmp_path).load(digest)

    def test_damaged_covers_are_refused_and_mended_by_put(self, tmp_path: Path) -> None:
        digest = lake(tmp_path).put(*EXPLAINING)
        file = tmp_path / "models" / digest / "explain.bin"
        file.write_bytes(b"other covers")
        with pytest.raises(ModelRefused, match=r"explain\.bin has SHA-256"):
            lake(tmp_path).load(digest)
        file.unlink()
        with pytest.raises(ModelMissing):
            lake(tmp_path).load(digest)
        lake(tmp_path).put(*EXPLAINING)
        assert lake(tmp_path).load(digest) == EXPLAINING

    @pytest.mark.parametrize("content", [b"{}", b'{"model_name": 1}', b"\xff", b"[]"])
    def test_a_manifest_that_breaks_its_schema_is_refused(self, tmp_path: Path, content: bytes) -> None:
        folder = tmp_path / "models" / content_digest(content)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_bytes(content)
        (folder / "model.onnx").write_bytes(ONNX)
        with pytest.raises(ModelRefused, match="manifest"):
            lake(tmp_path).load(folder.name)

    def test_a_lake_that_cannot_be_written_to_says_try_again(self, tmp_path: Path) -> None:
        (tmp_path / "models").write_text("a file where the folder should be")
        with pytest.raises(StoreUnavailable):
            lake(tmp_path).put(manifest_of(), ONNX)

    def test_missing_survives_pickling(self) -> None:
        missing = pickle.loads(pickle.dumps(ModelMissing("lake", "ab")))  # noqa: S301 - our own bytes
        assert (missing.store, missing.digest, missing.code) == ("lake", "ab", "model_missing")
        assert isinstance(missing, StoreRefused)


class _Down:
    """Files behind a network that is down."""

    def put(self, manifest: Manifest, onnx: bytes, explain: bytes | None = None) -> str:  # noqa: ARG002
        raise StoreUnavailable("lake", "connection refused")

    def load(self, digest: str) -> StoredModel:  # noqa: ARG002 - the port's signature
        raise StoreUnavailable("lake", "connection refused")


class TestCached:
    def test_scoring_starts_without_the_lake(self, tmp_path: Path) -> None:
        copies = lake(tmp_path)
        source = MemoryModelFiles()
        digest = source.put(manifest_of(), ONNX)
        CachedModelFiles(source, copies).load(digest)
        assert CachedModelFiles(_Down(), copies).load(digest) == STORED

    def test_explaining_starts_without_the_lake(self, tmp_path: Path) -> None:
        source = MemoryModelFiles()
        digest = source.put(*EXPLAINING)
        CachedModelFiles(source, lake(tmp_path)).load(digest)
        assert CachedModelFiles(_Down(), lake(tmp_path)).load(digest) == EXPLAINING

    def test_without_copy_and_lake_it_says_try_again(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable):
            CachedModelFiles(_Down(), lake(tmp_path)).load(manifest_of().digest)

    def test_what_only_the_cache_holds_is_not_stored(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable):
            CachedModelFiles(_Down(), lake(tmp_path)).put(manifest_of(), ONNX)

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_copy_is_fetched_again(
        self, tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        source = MemoryModelFiles()
        digest = CachedModelFiles(source, lake(tmp_path)).put(manifest_of(), ONNX)
        damage(tmp_path / "models" / digest)
        with caplog.at_level(logging.WARNING):
            assert CachedModelFiles(source, lake(tmp_path)).load(digest) == STORED
        assert "not used" in caplog.text
        assert lake(tmp_path).load(digest) == STORED

    def test_no_room_for_copies_does_not_stop_scoring(self) -> None:
        source = MemoryModelFiles()
        digest = source.put(manifest_of(), ONNX)
        assert CachedModelFiles(source, _Down()).load(digest) == STORED


class TestLakeFilesystem:
    def test_a_folder_with_spaces(self, tmp_path: Path) -> None:
        folder = tmp_path / "my lake"
        filesystem, root = lake_filesystem(LakeLocation(folder.as_uri()))
        assert isinstance(filesystem, fs.LocalFileSystem)
        assert root == str(folder)

    def test_a_bucket_with_credentials(self, tmp_path: Path) -> None:
        secrets = tmp_path / "s3.json"
        secrets.write_text('{"access_key_id": "a", "secret_access_key": "b"}')
        secrets.chmod(0o600)
        location = LakeLocation(
            "s3://bucket/prefix/", {"endpoint": "localhost:1", "scheme": "http", "region": "x"}, secrets
        )
        filesystem, root = lake_filesystem(location)
        assert filesystem.type_name == "s3"
        assert root == "bucket/prefix"

    def test_readable_credentials_are_refused(self, tmp_path: Path) -> None:
        secrets = tmp_path / "s3.json"
        secrets.write_text("{}")
        secrets.chmod(0o644)
        with pytest.raises(PermissionError, match="chmod 600"):
            lake_filesystem(LakeLocation("s3://bucket", credentials_file=secrets))

    @pytest.mark.parametrize(
        ("location", "message"),
        [
            (LakeLocation("gs://bucket"), "must start with"),
            (LakeLocation("s3://bucket", {"colour": "red"}), "colour"),
        ],
    )
    def test_what_is_not_understood_is_named(self, location: LakeLocation, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            lake_filesystem(location)


def test_equal_manifests_have_equal_digests_and_every_field_counts() -> None:
    assert manifest_of().digest == msgspec.structs.replace(manifest_of()).digest
    assert manifest_of().digest != msgspec.structs.replace(manifest_of(), threshold=0.6).digest
