"""Where in a value card numbers may stand: the text in it, and the spans of `card_number` fields.

Works on bytes that are JSON, broken JSON or anything else, in any encoding that extends ASCII.

Never: an exception; a copy of another length than the value; a pattern that can backtrack.
"""

import re

_HIDDEN = b"\x01"
"""Covers a byte that is no text; it ends a run of digits."""
_IGNORED = b"\x00"
"""Covers all of an escape but the character it spells; between digits it counts as nothing."""
_SPACE = rb"\s*+"
_STRING = rb'"(?:[^"\\]|\\.)*+"?+'
_NUMBER = rb"-?+[0-9][0-9.eE+\-]*+"

_BEFORE_NUMBER = rb"%b|(?P<lead>[:,\[]%b)(?P<number>%b)" % (_STRING, _SPACE, _NUMBER)
_string_or_number = re.compile(_BEFORE_NUMBER + rb"(?=%b(?:[,\]}]|\Z))" % _SPACE, re.DOTALL)
_string_or_ended_number = re.compile(_BEFORE_NUMBER + rb"(?=%b[,\]}])" % _SPACE, re.DOTALL)
_only_a_number = re.compile(_SPACE + _NUMBER + _SPACE).fullmatch
_number_like_a_time = re.compile(rb"(?<![0-9])[01][0-9]{12,}+")
_escape = re.compile(rb"\\u([0-9a-fA-F]{4})|(?:\\(?!u[0-9a-fA-F]{4}).)++", re.DOTALL)
"""One that spells a character by its number, or all others in a row."""
_string_and_colon = re.compile(rb"(?P<text>%b)(?P<colon>%b:%b)?+" % (_STRING, _SPACE, _SPACE), re.DOTALL)
_plain_key = re.compile(rb"(?i:card[_\- ]?number)[\\\"']*+%b[:=]%b" % (_SPACE, _SPACE))
_string_or_bracket = re.compile(rb"%b|[\[{]|[\]}]" % _STRING, re.DOTALL)
_string = re.compile(_STRING, re.DOTALL)
_bare = re.compile(rb"[\\\"']*+[0-9 .+\-eEu\\]*+")
_outside_a_name = re.compile(rb"[^a-z]")


def readable_text(value: bytes, *, whole: bool = True) -> bytes:
    """A copy that keeps the text in which a run counts as a card number and covers the bare numbers.

    In a value that starts like JSON a bare number is one at a number's place (after `:`, `,` or `[`, before
    `,`, `]`, `}` or the end). In any other value it is the whole value, or 13 digits and more that start with
    0 or 1: times in milliseconds and finer, but no issuer's number.

    Of a value that is not `whole`, but a beginning or a text of its own, the end proves no number.
    """
    if value.lstrip(b" \t\r\n\xef\xbb\xbf\xfe\xff")[:1] in (b"{", b"[", b'"'):
        value = (_string_or_number if whole else _string_or_ended_number).sub(_cover_number, value)
    elif whole and _only_a_number(value):
        value = _HIDDEN * len(value)
    else:
        value = _number_like_a_time.sub(_cover, value)
    return spelled_out(value)


def spelled_out(value: bytes) -> bytes:
    r"""A copy in which `\u0034` reads as five ignored bytes and a `4`; so for every digit, space and dash."""
    return _escape.sub(_spell, value) if b"\\" in value else value


def spans_of_card_fields(value: bytes) -> list[tuple[int, int]]:
    """Start and end (exclusive) of the values of `card_number` fields, however deep, none inside another."""
    starts = [match.end() for match in _plain_key.finditer(value)]
    if b"\\u" in value:
        keys = (match for match in _string_and_colon.finditer(value) if match["colon"])
        starts += [match.end() for match in keys if names_card_number(match["text"])]
    spans: list[tuple[int, int]] = []
    for start in sorted(starts):
        if not spans or start >= spans[-1][1]:
            spans.append((start, _end_of_value(value, start)))
    return spans


def _cover(match: re.Match[bytes]) -> bytes:
    return _HIDDEN * len(match[0])


def _cover_number(match: re.Match[bytes]) -> bytes:
    if match["number"] is None:
        return match[0]
    return match["lead"] + _HIDDEN * len(match["number"])


def _spell(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        character = chr(int(match[1], 16))
        if character in "0123456789 -":
            return _IGNORED * 5 + character.encode()
    return _HIDDEN * len(match[0])


def names_card_number(key: bytes) -> bool:
    """Whether a key, escapes resolved, reads card_number in any case, with or without the separator."""
    name = _escape.sub(
        lambda match: chr(int(match[1], 16)).encode("utf-8", "replace") if match[1] else b"", key
    )
    return _outside_a_name.sub(b"", name.lower()) == b"cardnumber"


def _end_of_value(value: bytes, start: int) -> int:
    """The end of the JSON value that starts there, or of the value's bytes if it never ends."""
    first = value[start : start + 1]
    if first in (b"[", b"{"):
        depth = 0
        for token in _string_or_bracket.finditer(value, start):
            depth += (token[0][:1] in b"[{") - (token[0][:1] in b"]}")
            if depth == 0:
                return token.end()
        return len(value)
    match = (_string if first == b'"' else _bare).match(value, start)
    return match.end() if match else start
