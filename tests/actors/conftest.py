"""One hot path for all tests that ask for it; it ends with the last of them, not with the session.

Other tests start a Ray of their own, and one process can be connected to one Ray only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.actors.platform import Platform

_OPEN: list[Platform] = []
_HERE = Path(__file__).parent


def _uses_platform(item: pytest.Item) -> bool:
    """True of the tests below this folder only: another folder's fixture of that name is not this one, and
    the hook that closes is not called for its tests."""
    return item.path.is_relative_to(_HERE) and "platform" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _uses_platform(item):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(180, func_only=True))


@pytest.fixture(scope="session")
def platform() -> Platform:
    """The running hot path; what earlier tests sent is part of its history."""
    # Ray and the clients are imported only if a test needs them.
    from tests.actors.platform import open_platform

    if not _OPEN:
        _OPEN.append(open_platform())
    return _OPEN[0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    items = item.session.items
    rest = [] if nextitem is None else items[items.index(item) + 1 :]
    if _OPEN and not any(_uses_platform(later) for later in rest):
        _OPEN.pop().close()
