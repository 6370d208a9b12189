"""False findings and rings found in a year of billing runs, salary days and lunch hours.

    python -m tests.benchmarks.usual_crowds [--days 365] [--merchants 30]

Each day is looked at in five overlapping periods of six hours, with the 35 days before it behind it.
"""

import argparse
import time

from ray_fraud.domain.patterns.settings import PatternSettings
from tests.batch.usual_crowds import FIRST_DAY, judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument(
        "--merchants", type=int, default=30, help="with crowds; there are 60 shops beside them"
    )
    chosen = parser.parse_args()
    began = time.perf_counter()
    days = range(FIRST_DAY + 40, FIRST_DAY + 40 + chosen.days)
    found = judge(1, days, chosen.merchants, 2, PatternSettings())
    print(  # noqa: T201
        f"{found.merchant_days:,} merchants and days: {found.false_findings} false findings, "
        f"{found.before:,} without earlier days; {found.rings_found} of {found.rings} rings found; "
        f"{time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
