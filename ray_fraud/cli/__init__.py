"""The `ray-fraud` command: wires parts together and prints.

Never: logic of its own that another program could want.
"""

import click

from ray_fraud.cli.group import AnsweringGroup, CommandPlace, LazyGroup

__all__ = ["COMMANDS", "AnsweringGroup", "main"]

COMMANDS = {
    "up": CommandPlace("ray_fraud.cli.up", "up", "Start the platform in the background."),
    "status": CommandPlace("ray_fraud.cli.stack", "status", "Every address, and what is healthy."),
    "down": CommandPlace("ray_fraud.cli.stack", "down", "Drain and end what `up` started; data stays."),
    "demo": CommandPlace("ray_fraud.cli.demo", "demo", "The whole platform for a minute, with a check."),
    "generate": CommandPlace("ray_fraud.cli.generate", "generate", "Make transactions with frauds in them."),
    "connect": CommandPlace(
        "ray_fraud.cli.connect", "connect", "How your own producer sends transactions here."
    ),
    "alerts": CommandPlace("ray_fraud.cli.alerts", "alerts", "Alerts: list, show, tail, verdict."),
    "verdicts": CommandPlace(
        "ray_fraud.cli.verdicts", "verdicts", "What was found out: import, list, simulate."
    ),
    "state": CommandPlace("ray_fraud.cli.state", "state", "Look at what is remembered of a user: show."),
    "models": CommandPlace("ray_fraud.cli.models", "models", "Model versions: look, compare, promote, undo."),
    "batch": CommandPlace("ray_fraud.cli.batch", "batch", "The cold path: run now, status, score."),
    "train": CommandPlace(
        "ray_fraud.cli.train", "train", "Train model versions now, or see the last trainings."
    ),
    "backtest": CommandPlace(
        "ray_fraud.cli.backtest", "backtest", "Rules and models over labelled history, measured."
    ),
    "lake": CommandPlace("ray_fraud.cli.lake", "lake", "The lake's tables: import, look, care, correct."),
    "bench": CommandPlace("ray_fraud.cli.bench", "bench", "Measure latency and throughput here."),
}


@click.group(cls=LazyGroup, places=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ray-fraud")
def main() -> None:
    """Real-time fraud detection on Ray."""
