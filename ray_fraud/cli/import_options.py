"""Options that say how a file of transactions is to be read, the same for every command that reads one.

Never: a file that is opened, but for a mapping.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from batch.imports.column_map import ImportRefused, parse_mapping
from batch.imports.file_format import FileFormat
from batch.imports.form import Decimal, Encoding, TimeUnit
from batch.imports.layout import Layout, preset, preset_names, read_layout

C = TypeVar("C", bound=Callable[..., Any])
_FORM = (
    "delimiter", "encoding", "decimal", "time_origin", "time_unit", "time_zone", "time_format", "hash_user",
)  # fmt: skip
_NAMED = {"tab": "\t", "\\t": "\t"}


class Understood(NamedTuple):
    file_format: FileFormat
    layout: Layout


def layout_options(command: C) -> C:
    """`--map`, `--format` and what says how cells are written."""
    formats = [*(each.value for each in FileFormat), *preset_names()]
    options = (
        click.option(
            "--map",
            "pairs",
            metavar="FIELD=COLUMN|FILE",
            multiple=True,
            help="The column of a field of the contract, if it has another name, or a file of such names; "
            "repeatable.",
        ),
        click.option(
            "--format",
            "formats",
            type=click.Choice(formats, case_sensitive=False),
            multiple=True,
            help="If the file's name does not say it; or the data set whose columns it has.",
        ),
        click.option("--delimiter", metavar="CHARACTER", help="Of CSV; `tab`.  [default: found by itself]"),
        click.option("--encoding", type=click.Choice(Encoding, case_sensitive=False)),
        click.option("--decimal", type=click.Choice(Decimal), help="Of amounts.  [default: found by itself]"),
        click.option("--time-origin", metavar="DATE", help="Times are numbers that count from here."),
        click.option("--time-unit", type=click.Choice(TimeUnit, case_sensitive=False), help="Of numbers."),
        click.option("--time-zone", metavar="NAME", help="Of times that name none.  [default: UTC]"),
        click.option("--time-format", metavar="FORMAT", help="Of times, like %d.%m.%Y %H:%M."),
        click.option("--hash-user", is_flag=True, default=None, help="Make numbers of user ids, by a key."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def understood(file: Path, options: dict[str, Any]) -> Understood:
    """What the options say of a file.

    Raises:
        ImportRefused: a mapping cannot be read or used, or nothing says the format.
    """
    from batch.imports.sources import format_of

    formats = [FileFormat(each) for each in options["formats"] if each in set(FileFormat)]
    presets = [each for each in options["formats"] if each not in set(FileFormat)]
    for kind, named in (("a file format", formats), ("a data set", presets)):
        if len(named) > 1:
            raise ImportRefused(f"--format {named[0]} and --format {named[1]}: give {kind} once")
    layout = preset(presets[0]) if presets else Layout()
    pairs = list(options["pairs"])
    for path in [each for each in pairs if "=" not in each and Path(each).is_file()]:
        pairs.remove(path)
        read = read_layout(Path(path))
        layout = layout.under(read.columns, read.form_told)
    form = {name: options[name] for name in _FORM}
    form["delimiter"] = _NAMED.get(form["delimiter"], form["delimiter"])
    layout = layout.under(parse_mapping(pairs), form)
    if formats:
        return Understood(formats[0], layout)
    try:
        return Understood(format_of(file), layout)
    except ImportRefused:
        if presets:
            return Understood(FileFormat.CSV, layout)
        raise
