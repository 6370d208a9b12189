"""The jars of Apache Kafka: fetched once per user with jgo, each checked against the committed lock.

`python -m cluster.local.jars lock` writes the lock anew; `… fetch` fills the cache.
Never: a jar that is not in the lock or differs from it; the address of a registry in the lock.
"""

import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tenacity
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from cluster.local.failures import DownloadError, WrongJarError

KAFKA = "org.apache.kafka:kafka_2.13:4.1.1"
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
"""Kafka logs through slf4j; its own distribution adds this binding, its Maven description does not."""
TOOLS = "org.apache.kafka:kafka-tools:4.1.1"
"""Of Kafka's command-line tools, for its console producer; without what it needs for Kafka Connect."""
LOCK = Path(__file__).with_name("kafka-jars.lock")
DOWNLOADS_AT_ONCE = 4
ATTEMPTS = 4
REQUEST_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class LockedJar:
    coordinate: str
    """`group:artifact:version`."""
    sha256: str

    @property
    def file_name(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/ray-fraud/kafka-jars`, by default under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ray-fraud" / "kafka-jars"


def read_lock(lock: Path = LOCK) -> list[LockedJar]:
    """The locked jars in the order of the class path.

    Raises:
        WrongJarError: a line is not `group:artifact:version sha256:<64 hexadecimal digits>`.
    """
    jars = []
    for number, line in enumerate(lock.read_text().splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        coordinate, _, digest = line.partition(" sha256:")
        if coordinate.count(":") != 2 or len(digest) != 64:
            raise WrongJarError(
                f"{lock}: line {number} is not `group:artifact:version sha256:…`; restore the file"
            )
        jars.append(LockedJar(coordinate, digest))
    return jars


def kafka_jars(lock: Path = LOCK, cache: Path | None = None) -> list[Path]:
    """The files of the locked jars, in the order of the class path; what the cache lacks is downloaded.

    Every file is checked against the lock at every call (45 MB, some 50 ms); one that was altered in the
    cache is fetched again.

    Raises:
        DownloadError: no answer or a broken one; try again with a network.
        WrongJarError: the registry sent a file that differs from the lock.
    """
    folder = cache or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    jars = read_lock(lock)
    missing = [jar for jar in jars if _sha256(folder / jar.file_name) != jar.sha256]
    if missing:
        _download(missing, folder)
    return [folder / jar.file_name for jar in jars]


def _download(jars: list[LockedJar], folder: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as incoming,
        _progress(f"{len(jars)} jars of Apache Kafka, once per user") as callback,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
    ):
        for jar, file in zip(
            jars, pool.map(lambda jar: _fetch(jar, Path(incoming), callback), jars), strict=True
        ):
            found = _sha256(file)
            if found != jar.sha256:
                raise WrongJarError(
                    f"{jar.coordinate}: the downloaded file has SHA-256 {found}, the lock says {jar.sha256}; "
                    "it was not used. Check the registry (or its mirror) before anything else"
                )
            file.replace(folder / jar.file_name)


def _fetch(jar: LockedJar, incoming: Path, callback: Any) -> Path:
    @tenacity.retry(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
        # The errors of jgo's HTTP client are OSErrors; that no repository has a file is a RuntimeError.
        retry=tenacity.retry_if_exception_type(OSError),
        reraise=True,
    )
    def attempt() -> Path:
        # A folder for each attempt: jgo takes what a broken one left for complete.
        repository = Path(tempfile.mkdtemp(dir=incoming))
        return Path(_maven(repository, callback).create_dependency(jar.coordinate).artifact.resolve())

    try:
        return attempt()
    except (OSError, RuntimeError) as error:
        raise DownloadError(
            f"{jar.coordinate} could not be downloaded ({type(error).__name__}: {error}). "
            "The first start needs the network; try again, or use a Kafka of your own with --kafka host:port"
        ) from error


def _maven(repository: Path, callback: Any = None) -> Any:
    """A Maven context of jgo: the repositories of the user's jgo settings first, then Maven Central."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver

    return MavenContext(
        resolver=PythonResolver(progress_callback=callback),
        repo_cache=repository,
        remote_repos={**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL},
        timeout=REQUEST_TIMEOUT_SECONDS,
    )


@contextmanager
def _progress(what: str) -> Iterator[Any]:
    """jgo's progress callback: `(file name, bytes) -> context manager -> (more bytes) -> None`."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"downloading {what}")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=0)
        total = 0

        @contextmanager
        def file_progress(_name: str, size: int) -> Iterator[Any]:
            nonlocal total
            total += size
            progress.update(task, total=total)
            yield lambda received: progress.advance(task, received)

        yield file_progress


def write_lock(lock: Path = LOCK) -> int:
    """Resolve KAFKA anew, add LOGGING and TOOLS, download every jar and write its coordinate and SHA-256.

    Returns: the number of jars.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ray-fraud-jars-") as repository,
        _progress("the jars of Apache Kafka for the lock") as callback,
    ):
        maven = _maven(Path(repository), callback)
        root = maven.create_dependency(KAFKA)
        roots, transitive = maven.resolver.resolve([root])
        wanted = [each for each in transitive if each.scope in ("compile", "runtime")]
        added = [maven.create_dependency(coordinate) for coordinate in (LOGGING, TOOLS)]
        artifacts = [each.artifact for each in [*roots, *wanted, *added]]
        lines = ["# Made by `python -m cluster.local.jars lock`; the order is the class path."]
        for artifact in artifacts:
            coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            lines.append(f"{coordinate} sha256:{_sha256(Path(artifact.resolve()))}")
    lock.write_text("\n".join(lines) + "\n")
    return len(artifacts)


def _sha256(file: Path) -> str | None:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def main(arguments: list[str]) -> int:
    match arguments:
        case ["lock"]:
            sys.stderr.write(f"{LOCK}: {write_lock()} jars\n")
        case ["fetch"]:
            sys.stderr.write(f"{cache_folder()}: {len(kafka_jars())} jars\n")
        case ["clean"]:
            shutil.rmtree(cache_folder(), ignore_errors=True)
        case _:
            sys.stderr.write("usage: python -m cluster.local.jars lock | fetch | clean\n")
            return 2
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    sys.exit(main(sys.argv[1:]))
