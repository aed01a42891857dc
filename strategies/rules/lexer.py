"""Text to tokens. Anything outside the small alphabet of the language stops here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Final

from strategies.rules.errors import RuleError
from strategies.rules.functions import KEYWORDS

MAX_LENGTH: Final = 2_000

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | "(?P<string>[^"\r\n]*)"
      | (?P<operator><=|>=|==|!=|[-+*/<>(),\[\]])""",
    re.VERBOSE,
)
_KEYWORDS: Final = frozenset(KEYWORDS)
_OFTEN_MEANT: Final = {"=": "==", "&": "and", "|": "or", "!": "not", ";": "and", "^": "*", "{": "(", "}": ")", "'": '"'}


@dataclass(frozen=True, slots=True)
class Token:
    """`kind`: number, name, keyword, string (`text` without its quotes), operator or end."""

    kind: str
    text: str
    position: int

    @property
    def width(self) -> int:
        """Characters it takes in the rule."""
        return len(self.text) + (2 if self.kind == "string" else 0)


@lru_cache(maxsize=256)  # one text is parsed with many parameters
def tokens_of(text: str) -> tuple[Token, ...]:
    """All tokens and an end mark. RuleError: too long, a foreign character, a number too large to be one."""
    if len(text) > MAX_LENGTH:
        raise RuleError("TOO_LONG", f"A rule has at most {MAX_LENGTH} characters, this one {len(text)}", MAX_LENGTH)
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _foreign(text[position], position)
        kind = str(match.lastgroup)
        found = match.group(kind)
        if kind == "number" and not isfinite(float(found)):
            raise RuleError("NUMBER_TOO_LARGE", f"{found} is too large", position)
        if kind == "name" and found in _KEYWORDS:
            kind = "keyword"
        if kind != "space":
            tokens.append(Token(kind, found, position))
        position = match.end()
    return (*tokens, Token("end", "", len(text)))


def _foreign(character: str, position: int) -> RuleError:
    if character == '"':
        return RuleError("OPEN_TEXT", "This text has no closing quotation mark", position)
    if character == ".":
        return RuleError("NO_ATTRIBUTES", "Nothing in a rule has attributes", position)
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return RuleError("UNKNOWN_CHARACTER", f"{shown} means nothing here", position, _OFTEN_MEANT.get(character))
