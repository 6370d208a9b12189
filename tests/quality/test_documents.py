"""What the documents name exists: commands and their options, make targets, metrics, links, paths.

Never: running a command (the tests of each command do); judging prose.
"""

import re
import shlex
from pathlib import Path

import click
import pytest

from ray_fraud.cli import main
from ray_fraud.domain.metrics import CATALOGUE
from tests.quality.metrics_page import PAGE, page

ROOT = Path(__file__).parents[2]
README_LIMIT_LINES = 200
ARCHITECTURE_LIMIT_WORDS = 1_100
"""Two pages, tables and picture included."""
DECISION_LIMIT_LINES = 60
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = ("actors", "batch", "cluster", "docs", "ray_fraud", "requirements", "serve", "tests")
ENDINGS = "csv|json|lock|lua|md|py|sql|toml|txt"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(rf"(?<![\w./~-])(?:{'|'.join(FOLDERS)})/[\w./*-]*\w/?")
LINE_REFERENCE = re.compile(rf"\.(?:{ENDINGS})(?::|#L)\d+")
METRIC = re.compile(r"\bfraud_detection_\w+")
MODULE = re.compile(r"\bpython -m ((?:\w+\.)+\w+)")

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def code_of(text: str) -> list[str]:
    """Every line of console blocks and every code span, without comments."""
    blocks = [
        line
        for language, block in FENCE.findall(text)
        if language == "console"
        for line in block.splitlines()
    ]
    spans = [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", text))]
    return [code.split("  #")[0].split(" # ")[0].strip() for code in blocks + spans]


def commands_of(text: str, program: str) -> list[list[str]]:
    """The words of every command line that starts with `program`, the program left out."""
    lines = [code for code in code_of(text) if code == program or code.startswith(f"{program} ")]
    return [shlex.split(line)[1:] for line in lines]


def make_names() -> tuple[set[str], set[str]]:
    """Targets with a description, and variables that a caller may set."""
    content = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z0-9-]+):.*## ", content, re.MULTILINE)
    return set(targets), set(re.findall(r"^([A-Z]+) \?=", content, re.MULTILINE))


def wrong_in_make(words: list[str]) -> str | None:
    """What is wrong with the words of a `make` command, None if nothing."""
    targets, variables = make_names()
    for word in words:
        name, is_variable, value = word.partition("=")
        if name not in (variables if is_variable else targets):
            return f"the Makefile has no {name}"
        if name == "DEMO":
            return wrong_in_command(["demo", *shlex.split(value)])
    return None


def wrong_in_command(words: list[str]) -> str | None:
    """What is wrong with the words of a `ray-fraud` command, None if nothing.

    The real command objects say which commands, options and choices there are; nothing is run.
    """
    command: click.Command = main
    rest = [word for word in words if word != "…"]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            return f"{command.name} has no command {rest[0]}"
        command, rest = found, rest[1:]
    options = {name: each for each in command.params if isinstance(each, click.Option) for name in each.opts}
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            if not arguments:
                return f"{command.name} takes no argument {word}"
            if arguments[0].nargs != -1:
                arguments.pop(0)
            continue
        if word in ("-h", "--help", "--version"):
            continue
        if word not in options:
            return f"{command.name} has no option {word}"
        if not options[word].is_flag and rest:
            problem = wrong_value(options[word], rest.pop(0))
            if problem:
                return problem
    return None


def wrong_value(option: click.Option, value: str) -> str | None:
    """Values of a closed set or a number are checked; words in capitals stand for a value."""
    if value.isupper() or isinstance(option.type, click.Path):
        return None
    try:
        option.type.convert(value, option, None)
    except click.BadParameter as error:
        return f"{option.opts[0]} {value}: {error.message}"
    return None


def headings_of(text: str) -> set[str]:
    """Anchors of a Markdown file, as the usual renderers make them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LIMIT_LINES


def test_the_architecture_fits_two_pages() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().split()) <= ARCHITECTURE_LIMIT_WORDS


def test_the_readme_names_both_commands_of_a_first_visit() -> None:
    named = [words for words in commands_of((ROOT / "README.md").read_text(), "make") if len(words) == 1]
    assert ["demo"] in named
    assert ["test"] in named


def test_decisions_are_numbered_without_holes_and_of_one_form() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert files
    for number, file in enumerate(files, start=1):
        text = file.read_text()
        assert file.name.startswith(f"{number:04}-"), file.name
        assert text.startswith(f"# {number}. "), file.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence"], (
            file.name
        )
        assert len(text.splitlines()) <= DECISION_LIMIT_LINES, file.name


@each_document
def test_every_make_command_exists(document: Path) -> None:
    for words in commands_of(document.read_text(), "make"):
        assert wrong_in_make(words) is None, " ".join(["make", *words])


@each_document
def test_every_ray_fraud_command_exists(document: Path) -> None:
    for words in commands_of(document.read_text(), "ray-fraud"):
        assert wrong_in_command(words) is None, " ".join(["ray-fraud", *words])


def test_the_readme_shows_every_command() -> None:
    shown = {words[0] for words in commands_of((ROOT / "README.md").read_text(), "ray-fraud") if words}
    assert set(main.list_commands(click.Context(main))) <= shown


@each_document
def test_every_module_that_is_to_be_run_exists(document: Path) -> None:
    for module in MODULE.findall(document.read_text()):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


@each_document
def test_every_metric_is_in_the_catalogue(document: Path) -> None:
    assert set(METRIC.findall(document.read_text())) <= {metric.name for metric in CATALOGUE}


def test_the_page_of_metrics_equals_the_catalogue() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.quality.metrics_page"


@each_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in LINK.findall(FENCE.sub("", document.read_text())):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name) if name else document
        assert file.exists(), target
        if anchor:
            assert anchor in headings_of(file.read_text()), target


@each_document
def test_every_path_exists(document: Path) -> None:
    for path in PATH.findall(FENCE.sub("", document.read_text())):
        assert list(ROOT.glob(path.rstrip("/"))), path


@each_document
def test_nothing_is_referred_to_by_line(document: Path) -> None:
    assert not LINE_REFERENCE.findall(document.read_text())


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("up --data-dir D --output json", None),
        ("alerts list --rule high_amount", None),
        ("alerts list --rule no_such_rule", "--rule"),
        ("alerts lists", "lists"),
        ("state show USER extra", "extra"),
        ("bench --data-dir D", None),
        ("bench --tps 3", "--tps"),
        ("generate --tps many", "--tps many"),
        ("nothing", "nothing"),
    ],
)
def test_a_wrong_command_is_noticed(command: str, problem: str | None) -> None:
    found = wrong_in_command(shlex.split(command))
    assert found is None if problem is None else found is not None and problem in found


def test_a_wrong_make_command_is_noticed() -> None:
    assert wrong_in_make(["tests"]) is not None
    assert wrong_in_make(["test", "TEST=tests"]) is not None
    assert wrong_in_make(["demo", "DEMO=--second 3"]) is not None
    assert wrong_in_make(["demo", "DEMO=--seconds 3"]) is None
