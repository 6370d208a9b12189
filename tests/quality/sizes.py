"""Reports the sizes of files and functions; fails above the limits.

Limits: 450 lines a file, 60 lines a function. The medians are printed to be looked at.

Never: judging names or style (the linter does).
"""

import ast
import statistics
import sys
from pathlib import Path

FILE_LIMIT_LINES = 450
FUNCTION_LIMIT_LINES = 60


def function_sizes(path: Path) -> list[tuple[str, int]]:
    """(qualified place, lines) of every function in the file."""
    tree = ast.parse(path.read_text())
    return [
        (f"{path}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def main(folders: list[str]) -> int:
    files = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    file_lines = {path: len(path.read_text().splitlines()) for path in files}
    functions = [size for path in files for size in function_sizes(path)]
    over = [
        (str(path), lines, FILE_LIMIT_LINES) for path, lines in file_lines.items() if lines > FILE_LIMIT_LINES
    ]
    over += [
        (place, lines, FUNCTION_LIMIT_LINES) for place, lines in functions if lines > FUNCTION_LIMIT_LINES
    ]
    sys.stdout.write(
        f"{len(files)} files, median {statistics.median(file_lines.values()):.0f} lines; "
        f"{len(functions)} functions, median {statistics.median(lines for _, lines in functions):.0f} lines\n"
    )
    for place, lines, limit in sorted(over):
        sys.stdout.write(f"too long: {place}: {lines} lines, limit {limit}\n")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
