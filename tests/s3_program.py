"""The S3 server program of the tests, versitygw (Apache-2.0): where it lies, and how it gets there.

`python -m tests.s3_program` builds it with Go from the Go modules, whose contents Go compares with its own
checksum database, into the user's cache. It is a tool of the tests and no part of the platform.

Never: another version than the pinned one in the cache; the address of a registry.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "v1.8.0"
MODULE = "github.com/versity/versitygw/cmd/versitygw"
PROGRAM_VARIABLE = "RAY_FRAUD_S3_SERVER"
"""Names the program, if it is not the one in the cache or on the path."""
REQUIRED_VARIABLE = "RAY_FRAUD_S3_REQUIRED"
"""Set: tests without the server fail instead of being skipped."""
HOW_TO_GET_IT = f"no versitygw: run `make s3-server` (needs Go), or name one in {PROGRAM_VARIABLE}"

OLDEST_GO = (1, 21)
"""The first that fetches a newer toolchain by itself."""
TOOLCHAIN = "go1.26.8"
"""For a Go that is older; a Go module like any other, checked in the same way."""
BUILD_SECONDS = 1_800
USUAL_FOLDERS = ("/usr/local/go/bin", "/usr/lib/go/bin")


def cached_program() -> Path:
    """`$XDG_CACHE_HOME/ray-fraud/versitygw-<version>/versitygw`, by default under `~/.cache`."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "ray-fraud" / f"versitygw-{VERSION}" / "versitygw"


def program() -> Path | None:
    """The named one, else the cached one, else one on the path."""
    named = os.environ.get(PROGRAM_VARIABLE)
    if named:
        return Path(named)
    if cached_program().exists():
        return cached_program()
    on_path = shutil.which("versitygw")
    return Path(on_path) if on_path else None


def install() -> Path:
    """Builds the pinned version into the cache, if it is not there.

    Raises:
        SystemExit: there is no Go, or it failed; the message says what to do.
    """
    target = cached_program()
    if target.exists():
        return target
    go = _go()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        _run([go, "install", f"{MODULE}@{VERSION}"], GOBIN=folder)
        Path(folder, target.name).replace(target)
    return target


def _go() -> str:
    found = shutil.which("go") or shutil.which("go", path=os.pathsep.join(USUAL_FOLDERS))
    if found is None:
        sys.exit("there is no Go on this machine; install it (Debian: apt-get install golang-go), then again")
    version = _run([found, "version"])
    numbers = re.search(r"go(\d+)\.(\d+)", version)
    if numbers is None:
        sys.exit(f"{found} does not tell its version, but: {version}")
    return found if tuple(map(int, numbers.groups())) >= OLDEST_GO else _toolchain(found)


def _toolchain(old: str) -> str:
    """A newer Go, fetched by an old one."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    _run([old, "mod", "download", f"golang.org/toolchain@v0.0.1-{TOOLCHAIN}.linux-{machine}"])
    modules = _run([old, "env", "GOMODCACHE"]).strip()
    root = Path(modules) / "golang.org" / f"toolchain@v0.0.1-{TOOLCHAIN}.linux-{machine}"
    # Modules carry no permission to execute; a newer Go sets it by itself.
    for file in (*root.glob("bin/*"), *root.glob("pkg/tool/*/*")):
        file.chmod(0o755)
    return str(root / "bin" / "go")


def _run(command: list[str], **extra: str) -> str:
    """Its output; what it says meanwhile is shown."""
    environment = {**os.environ, "GOTOOLCHAIN": "auto", "GO111MODULE": "on", "CGO_ENABLED": "0", **extra}
    environment.pop("GOROOT", None)
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}; see above")
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write(f"{install()}\n")
