"""Text from data, made fit for a terminal.

Never: a change of printable text.
"""

import unicodedata

_KEPT = "\n\t"
_DIRECTIONS = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
"""Characters that turn the direction of what follows, so that a text shows other than it is."""
REPLACEMENT = "\ufffd"


def plain(text: str) -> str:
    """`text` without control characters (but line ends, tabs), turns of direction, lone surrogates."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(REPLACEMENT if _unfit(each) else each for each in text)


def _unfit(character: str) -> bool:
    if character in _KEPT:
        return False
    return character in _DIRECTIONS or unicodedata.category(character) in ("Cc", "Cs")
