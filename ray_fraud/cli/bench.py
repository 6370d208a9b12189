"""`ray-fraud bench`: latency, throughput and memory on this machine, in one run.

Never: a stack that somebody uses; it makes its own.
"""

from pathlib import Path

import click
import msgspec
from rich.console import Group
from rich.table import Table

from cluster.local.bench.folder import bench_folder
from cluster.local.bench.plan import FULL, QUICK, Report
from ray_fraud.cli.output import Output, output_option, progress, quiet_libraries, show


@click.command()
@click.option("--quick", is_flag=True, help="Shorter phases: about 4 minutes instead of 10.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep data and logs here, in a new or an empty folder; default: a temporary one that is removed.",
)
@output_option
def bench(quick: bool, data_dir: Path | None, output: Output) -> None:
    """Measure this machine; the ratios are what can be compared with other machines."""
    from cluster.local.bench.run import run_bench

    quiet_libraries()
    with bench_folder(data_dir) as folder:
        report = run_bench(folder, QUICK if quick else FULL, progress.print)
    show("bench", msgspec.to_builtins(report), output, lambda: _tables(report))


def _tables(report: Report) -> Group:
    latency = Table("TPS", "scoring", "alerts", "p50 ms", "p95 ms", "p99 ms", title="Send → alert durable")
    for entry in report.latency:
        figures = (f"{value:.1f}" for value in (entry.p50_ms, entry.p95_ms, entry.p99_ms))
        latency.add_row(f"{entry.tps:,}", entry.scoring, str(entry.alerts), *figures)
    rates = Table("", "records/s", "÷ ceiling", title="Throughput")
    for name, tps in (
        ("ceiling (no scoring, one core)", report.ceiling_tps),
        ("sustained", report.sustained_tps),
        ("backlog drained", report.drain_tps),
    ):
        share = tps / report.ceiling_tps if report.ceiling_tps else 0.0
        rates.add_row(name, f"{tps:,.0f}", f"{share:.2f}")
    costs = Table("step", "µs per record", title="One record")
    for step, micros in report.steps_us.items():
        costs.add_row(step, f"{micros:.1f}")
    memory = Table("", "", show_header=False, title="Memory")
    memory.add_row("user with 40 transactions in 24 h", f"{report.bytes_per_user:,.0f} bytes")
    memory.add_row(
        f"largest partition actor ({report.actor_users:,} users)", f"{report.actor_rss_mb:,.0f} MB"
    )
    ratios = Table("ratio", "", title="Ratios")
    for name, value in report.ratios.items():
        ratios.add_row(name.replace("_", " "), f"{value:.2f}")
    return Group(latency, rates, costs, memory, ratios)
