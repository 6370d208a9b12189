#!/usr/bin/env bash
# Guess:   with `pytest -n 2 --dist loadgroup`, tests marked xdist_group("one") run in one worker, one after another.
# Happens: with pytest 9.2 they are spread over the workers as if there were no mark, without a warning. pytest-xdist
#          3.8 writes the group into the private attribute `_nodeid` of each item, which the `nodeid` of that pytest
#          no longer reads; the scheduler then sees every test as a group of its own.
# Seen:    pytest 9.2.0 with pytest-xdist 3.8.0 spreads, pytest 8.4.2 with the same pytest-xdist groups; Python 3.11.
# Hurts:   whoever keeps tests that share a server, a port or a cluster apart by such groups: they run at once.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/test_group.py" <<'PY'
import os
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(6))
def test_of_the_group(number: int) -> None:
    time.sleep(0.3)
    with open("workers", "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\n")
PY
for version in 8.4.2 9.2.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install --quiet --disable-pip-version-check "pytest==$version" pytest-xdist==3.8.0
  (cd "$work" && rm -f workers && "$version/bin/python" -m pytest -q -p no:cacheprovider -n 2 --dist loadgroup test_group.py > log)
  count=$(sort -u "$work/workers" | wc -l)
  echo "pytest $version, pytest-xdist 3.8.0: six tests of one group ran in $count worker(s)"
  case $version in 8.4.2) [ "$count" = 1 ] ;; 9.2.0) [ "$count" = 2 ] ;; esac
done
echo "as described: the mark has no effect under the newer pytest"
