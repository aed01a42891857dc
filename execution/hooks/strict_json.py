"""A body from outside as plain values: small, finite, shallow, without tricks. Numbers stay exact."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from execution.hooks.refusal import Refused

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 8
MAX_MEMBERS = 2_000
MAX_DIGITS = 40


class _Trick(ValueError):
    """Valid JSON that no honest sender writes."""


def _constant(name: str) -> Any:
    raise _Trick(f"{name} is not a number")


def _number(text: str) -> Decimal:
    if len(text) > MAX_DIGITS:
        raise _Trick(f"a number of {len(text)} characters")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise _Trick(f"{text[:20]} is not a number") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in seen if names.count(name) > 1)
        raise _Trick(f"the name {twice[:40]!r} occurs twice")
    return seen


def _look_through(value: Any) -> None:
    """Depth, size, and text that no database keeps (NUL, half a surrogate pair)."""
    level, depth, seen = [value], 0, 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _Trick(f"nested more than {MAX_DEPTH} deep")
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.keys())
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
            elif isinstance(one, str) and ("\x00" in one or any("\ud800" <= c <= "\udfff" for c in one)):
                raise _Trick("a text holds a character that is none")
        seen += len(below)
        if seen > MAX_MEMBERS:
            raise _Trick(f"more than {MAX_MEMBERS} values")
        level = below


def as_text(raw: bytes) -> str:
    """The body as text. Refused (400) where it is not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused(400, "NOT_UTF8", "The body is not UTF-8 text.") from None


def looks_like_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[", '"')


def read_object(text: str) -> dict[str, Any]:
    """The body's object: text, Decimal, bool, None, lists and objects. Refused (400, MALFORMED_JSON) otherwise."""
    try:
        body = json.loads(
            text, parse_float=_number, parse_int=_number, parse_constant=_constant, object_pairs_hook=_members
        )
        _look_through(body)
    except RecursionError:
        raise Refused(400, "MALFORMED_JSON", f"The body is nested more than {MAX_DEPTH} deep.") from None
    except ValueError as error:
        raise Refused(400, "MALFORMED_JSON", f"The body is not valid JSON: {error}."[:300]) from None
    if not isinstance(body, dict):
        raise Refused(400, "MALFORMED_JSON", "The body must be a JSON object: {…}.")
    return body
