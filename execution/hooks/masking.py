"""What is kept of a body: every character, but no secret."""

import json
import re
from collections.abc import Iterable
from typing import Any

MASK = "***"
_NAME = r"[\w-]*?(?:secret|password|passphrase|passwd|token|api[_-]?key|authorization)"
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_MEMBER = re.compile(
    rf"""(?ix) (?P<name> ["']? \b {_NAME} ["']? \s* [:=] \s* )
         (?P<value> "(?:[^"\\]|\\.)*"? | '(?:[^'\\]|\\.)*'? | [^\s,;&}}\]"']+ )"""
)


def without_secrets(value: Any, secrets: Iterable[str]) -> Any:
    """The same values with what is secret masked: by its name, or because it is one of the hook's own secrets."""
    known = [secret for secret in secrets if secret]

    def plain(one: Any) -> Any:
        if isinstance(one, dict):
            return {plain(name): MASK if _is_secret(name, inner) else plain(inner)
                    for name, inner in one.items()}  # fmt: skip
        if isinstance(one, list):
            return [plain(inner) for inner in one]
        if isinstance(one, str):
            for secret in known:
                one = one.replace(secret, MASK)
        return one

    return plain(value)


def _is_secret(name: str, value: Any) -> bool:
    return bool(_SECRET_NAME.fullmatch(name)) and value is not None and not isinstance(value, dict | list)


def masked(text: str, body: dict[str, Any] | None, secrets: Iterable[str]) -> str:
    """The body as it came, secrets masked.

    Where the text spells a secret in a way that only a parser sees through (escapes), the masked values are kept
    instead of the text. Characters that a database does not keep are written as escapes.
    """
    known = [secret for secret in secrets if secret]
    kept = _MEMBER.sub(_mask, text)
    for secret in known:
        kept = kept.replace(secret, MASK)
    if body is not None and _survives(kept, known):
        kept = json.dumps(without_secrets(body, known), default=str, ensure_ascii=False)
    return kept.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()


def _mask(found: "re.Match[str]") -> str:
    name, value = found["name"], found["value"]
    if value == "null" or value[0] in "{[":
        return found[0]
    mark = value[0] if value[0] in "\"'" else '"' if '"' in name else ""
    return f"{name}{mark}{MASK}{mark}"


def _survives(kept: str, known: list[str]) -> bool:
    """Whether a secret can still be read out of the masked text."""
    if "\\" not in kept:
        return False
    try:
        again = json.dumps(json.loads(kept), ensure_ascii=False)
    except (ValueError, RecursionError):
        return True
    return any(secret in again for secret in known) or without_secrets(json.loads(kept), known) != json.loads(kept)
