"""Secrets: random, stable, closed to others."""

import stat
from pathlib import Path

import pytest

from cluster.local.secret_files import ensure_secret, write_private


def test_a_secret_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    file = tmp_path / "password"
    secret = ensure_secret(file)
    assert len(bytes.fromhex(secret)) == 32
    assert ensure_secret(file) == secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_secrets_differ(tmp_path: Path) -> None:
    assert ensure_secret(tmp_path / "one") != ensure_secret(tmp_path / "two")


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    ensure_secret(file)
    file.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        ensure_secret(file)


def test_replacing_keeps_the_file_closed(tmp_path: Path) -> None:
    file = tmp_path / "configuration"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["configuration"]
