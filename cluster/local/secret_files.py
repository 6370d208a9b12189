"""Secrets of one stack: random, made once, each in a file that only its owner can read.

Never: a secret in an argument of a process, in a log or in a message.
"""

import os
import secrets
from pathlib import Path

from ray_fraud.stores.connections import read_secret

SECRET_BYTES = 32


def ensure_secret(path: Path) -> str:
    """The secret in `path` (64 hexadecimal digits), made with mode 0600 if the file is not there yet."""
    if not path.exists():
        write_private(path, secrets.token_hex(SECRET_BYTES) + "\n")
    return read_secret(path)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` at once, mode 0600; a reader sees the old or the new content, never a part."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
