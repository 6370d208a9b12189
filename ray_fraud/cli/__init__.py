"""The `ray-fraud` command: wires parts together and prints.

Never: logic of its own that another program could want.
"""

import importlib
from typing import NamedTuple

import click


class CommandPlace(NamedTuple):
    """Where a command is, and its line in the list of commands."""

    module: str
    attribute: str
    summary: str


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


class LazyGroup(click.Group):
    """Imports a command's module only when it is run: `ray-fraud --help` must not wait for Ray."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        command = getattr(importlib.import_module(place.module), place.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place.module}.{place.attribute} is no command but {command!r}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ray-fraud")
def main() -> None:
    """Real-time fraud detection on Ray."""
