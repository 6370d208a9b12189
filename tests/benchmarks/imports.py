"""How fast `ray-fraud lake import` is, and how much memory it takes.

    python -m tests.benchmarks.imports [--rows 1170000] [--order time|user] [--format parquet|csv]
        [--days 122] [--users 5000] [--workers 2] [--layout tabformer]
    python -m tests.benchmarks.imports --rows 24386900 --order user --days 10000 --users 2000 \
        --layout tabformer

Writes a file of generated transactions, imports it with the real command into a new lake, and prints seconds,
the most memory of all its processes at one moment (proportional share, so that what they share counts once),
files and commits. One JSON line.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

BEGIN_S = int(datetime(2018, 4, 1, tzinfo=UTC).timestamp())
DAY_S = 86_400
WRITTEN_ROWS = 1_000_000
SAMPLE_SECONDS = 0.5
TIMEOUT_SECONDS = 3_600.0


def part(begin: int, end: int, arguments: argparse.Namespace) -> pa.Table:
    """Rows `[begin, end)` of the file."""
    number = np.arange(begin, end)
    chance = np.random.default_rng(begin)
    span_s = arguments.days * DAY_S
    if arguments.order == "time":
        user = chance.integers(0, arguments.users, len(number))
        second = number * span_s // arguments.rows
    else:
        per_user = -(-arguments.rows // arguments.users)
        user = number // per_user
        second = number % per_user * span_s // per_user
    amount = np.round(chance.lognormal(3.5, 1, len(number)), 2)
    merchant = chance.integers(0, 10_000, len(number))
    fraud = chance.random(len(number)) < 0.001
    if arguments.layout == "tabformer":
        return tabformer(user, BEGIN_S + second - arguments.days * DAY_S, amount, merchant, fraud)
    return plain(number, user, BEGIN_S + second, amount, merchant, fraud)


def plain(
    number: NDArray[Any],
    user: NDArray[Any],
    second: NDArray[Any],
    amount: NDArray[Any],
    merchant: NDArray[Any],
    fraud: NDArray[Any],
) -> pa.Table:
    """Columns as the contract calls them."""
    return pa.table(
        {
            "transaction_id": pa.array(number).cast(pa.string()),
            "user_id": user,
            "amount": amount,
            "timestamp": second,
            "merchant_id": pa.array(merchant).cast(pa.string()),
            "fraud": fraud.astype(np.int8),
        }
    )


def tabformer(
    user: NDArray[Any],
    second: NDArray[Any],
    amount: NDArray[Any],
    merchant: NDArray[Any],
    fraud: NDArray[Any],
) -> pa.Table:
    """Columns as IBM's TabFormer has them, of the same width."""
    moment = pa.array(second).cast(pa.timestamp("s"))
    text = pa.string()
    count = len(user)
    return pa.table(
        {
            "User": user,
            "Card": user % 3,
            "Year": pc.year(moment),
            "Month": pc.month(moment),
            "Day": pc.day(moment),
            "Time": pc.strftime(moment, "%H:%M"),
            "Amount": pc.binary_join_element_wise("$", pa.array(amount).cast(text), ""),
            "Use Chip": pa.repeat("Swipe Transaction", count),
            "Merchant Name": merchant * 727_612_092_139_916 - 2**61,
            "Merchant City": pa.repeat("Monterey Park", count),
            "Merchant State": pa.repeat("CA", count),
            "Zip": pa.repeat(91754.0, count),
            "MCC": pa.repeat(5411, count),
            "Errors?": pa.repeat("", count),
            "Is Fraud?": pc.if_else(pa.array(fraud), "Yes", "No"),
        }
    )


def write(file: Path, arguments: argparse.Namespace) -> None:
    """The whole file, a million rows at a time."""
    schema = part(0, 1, arguments).schema
    kind = pa_csv.CSVWriter if arguments.format == "csv" else pq.ParquetWriter
    with kind(str(file), schema) as writer:
        for begin in range(0, arguments.rows, WRITTEN_ROWS):
            end = min(arguments.rows, begin + WRITTEN_ROWS)
            writer.write_table(part(begin, end, arguments))


def memory_of(process: psutil.Process) -> int:
    """Bytes that it and all below it take."""
    held = 0
    for each in (process, *process.children(recursive=True)):
        try:
            held += each.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return held


def measured(command: list[str], folder: Path) -> tuple[float, float, int, dict[str, Any]]:
    """Seconds, of which processors were busy, bytes at most, and the command's answer."""
    began = time.monotonic()
    most = 0
    with (folder / "answer").open("wb") as answer:
        child = subprocess.Popen(command, stdout=answer, cwd=folder)
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            if time.monotonic() - began > TIMEOUT_SECONDS:
                child.kill()
            most = max(most, memory_of(watched))
            time.sleep(SAMPLE_SECONDS)
    seconds = time.monotonic() - began
    used = os.times()
    if child.returncode != 0:
        raise SystemExit(f"the import failed: exit code {child.returncode}")
    data: dict[str, Any] = json.loads((folder / "answer").read_bytes())["data"]
    return seconds, used.children_user + used.children_system, most, data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_170_000)
    parser.add_argument("--order", choices=("time", "user"), default="time")
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--days", type=int, default=122)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--layout", choices=("plain", "tabformer"), default="plain")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        folder = Path(made)
        arguments.format = "csv" if arguments.layout == "tabformer" else arguments.format
        file = folder / f"past.{arguments.format}"
        write(file, arguments)
        command = [
            *(sys.executable, "-m", "ray_fraud.cli", "lake", "import", str(file)),
            *(("--format", "tabformer") if arguments.layout == "tabformer" else ()),
            *("--lake", (folder / "lake").as_uri(), "--data-dir", str(folder / "none")),
            *("--workers", str(arguments.workers), "--output", "json", "--temporary", str(folder)),
        ]
        seconds, busy, most, data = measured(command, folder)
    sys.stdout.write(
        json.dumps(
            vars(arguments)
            | {
                "seconds": round(seconds, 1),
                "cpu_seconds": round(busy, 1),
                "rows_per_second": round(arguments.rows / seconds),
                "most_memory_gb": round(most / 1e9, 2),
                **{name: data[name] for name in ("accepted", "rejected", "files", "commits")},
            }
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
