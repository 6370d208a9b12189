"""The jars: what is not in the lock, or differs from it, is never used."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cluster.local.failures import DownloadError, WrongJarError
from cluster.local.jars import LOCK, kafka_jars, read_lock

CONTENT = b"a jar"
COORDINATE = "org.example:thing:1.0"
FILE = "thing-1.0.jar"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository of one jar, entered in the user's jgo settings; no other one can be reached."""
    root = tmp_path / "repository"
    folder = root / "org" / "example" / "thing" / "1.0"
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    home = tmp_path / "home"
    (home / ".config").mkdir(parents=True)
    settings = f"[repositories]\nmirror = http://127.0.0.1:{server.server_port}\n"
    (home / ".config" / "jgo.conf").write_text(settings)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


def _lock(tmp_path: Path, content: bytes) -> Path:
    lock = tmp_path / "jars.lock"
    lock.write_text(f"# comment\n{COORDINATE} sha256:{hashlib.sha256(content).hexdigest()}\n")
    return lock


def test_the_committed_lock_names_every_jar_once_and_no_registry() -> None:
    jars = read_lock(LOCK)
    assert len({jar.file_name for jar in jars}) == len(jars) == 47
    assert jars[0].coordinate == "org.apache.kafka:kafka_2.13:4.1.1"
    assert "://" not in LOCK.read_text()


def test_a_missing_jar_is_fetched_and_a_second_time_needs_no_network(
    tmp_path: Path, repository: Path
) -> None:
    lock, cache = _lock(tmp_path, CONTENT), tmp_path / "cache"
    assert kafka_jars(lock, cache) == [cache / FILE]
    (repository / FILE).unlink()
    assert kafka_jars(lock, cache) == [cache / FILE]
    assert [file.name for file in cache.iterdir()] == [FILE]


def test_a_jar_that_was_altered_in_the_cache_is_fetched_again(tmp_path: Path, repository: Path) -> None:
    lock, cache = _lock(tmp_path, CONTENT), tmp_path / "cache"
    kafka_jars(lock, cache)
    (cache / FILE).write_bytes(b"altered")
    kafka_jars(lock, cache)
    assert (cache / FILE).read_bytes() == CONTENT


def test_a_jar_that_differs_from_the_lock_never_reaches_the_cache(tmp_path: Path, repository: Path) -> None:
    (repository / FILE).write_bytes(b"something else")
    with pytest.raises(WrongJarError, match=f"{COORDINATE}: the downloaded file has SHA-256"):
        kafka_jars(_lock(tmp_path, CONTENT), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_network_says_what_to_do(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.local.jars.ATTEMPTS", 1)
    (repository / FILE).unlink()
    with pytest.raises(DownloadError, match=r"needs the network; try again, or .* --kafka"):
        kafka_jars(_lock(tmp_path, CONTENT), tmp_path / "cache")


@pytest.mark.parametrize("line", ["org.example:thing sha256:00", "org.example:thing:1.0", "nonsense"])
def test_a_broken_lock_is_refused(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "jars.lock"
    lock.write_text(line + "\n")
    with pytest.raises(WrongJarError, match="line 1"):
        read_lock(lock)
