"""Plain values of a contract, read strictly: a wrong type, unknown name or absurd number is refused by its path."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from trading.indicators.registry import MAX_PERIOD

_Enum = TypeVar("_Enum", bound=StrEnum)


class ContractError(Exception):
    """A contract that cannot be published: a stable code, the path of the field, and why.

    `position` and `suggestion`: where within a rule the fault lies, and the name that may have been meant.
    """

    def __init__(
        self, code: str, path: str, message: str, *, position: int | None = None, suggestion: str | None = None
    ) -> None:
        self.code = code
        self.path = path
        self.message = message
        self.position = position
        self.suggestion = suggestion
        super().__init__(f"{path}: {message}" if path else message)


def read_mapping(
    value: Any,
    path: str,
    *,
    required: frozenset[str] | set[str] = frozenset(),
    optional: frozenset[str] | set[str] = frozenset(),
) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ContractError("WRONG_TYPE", path, "a group of named fields is needed")
    prefix = f"{path}." if path else ""
    for name in value:
        if name not in required and name not in optional:
            raise ContractError("UNKNOWN_FIELD", f"{prefix}{name}", "no such field")
    for name in sorted(required):
        if value.get(name) is None:
            raise ContractError("MISSING", f"{prefix}{name}", "this field is required")
    return value


def read_text(value: Any, path: str, *, shortest: int = 1, longest: int = 4_000) -> str:
    if not isinstance(value, str):
        raise ContractError("WRONG_TYPE", path, "a text is needed")
    text = value.strip()
    if not shortest <= len(text) <= longest:
        raise ContractError("WRONG_LENGTH", path, f"{shortest} to {longest} characters, not {len(text)}")
    if "\x00" in text:
        raise ContractError("WRONG_TYPE", path, "a text without control characters is needed")
    return text


def one_of(value: Any, path: str, allowed: Mapping[str, Any]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ContractError("UNKNOWN_CHOICE", path, f"one of {', '.join(allowed)}")
    return value


def read_choice(value: Any, path: str, kind: type[_Enum]) -> _Enum:
    return kind(one_of(value, path, {str(member.value): member for member in kind}))


def read_number(value: Any, path: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ContractError("WRONG_TYPE", path, "a number is needed")
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError) as error:  # a whole number of thousands of digits has no text
        raise ContractError("WRONG_TYPE", path, "a number is needed") from error
    if not number.is_finite() or abs(number) > 1_000_000_000:
        raise ContractError("OUT_OF_RANGE", path, "a number of sensible size is needed")
    return number


def positive(value: Any, path: str, most: int) -> Decimal:
    number = read_number(value, path)
    if not 0 < number <= most:
        raise ContractError("OUT_OF_RANGE", path, f"above 0 and at most {most}, not {number}")
    return number


def whole(value: Any, path: str, most: int) -> int:
    number = positive(value, path, most)
    if number != int(number):
        raise ContractError("OUT_OF_RANGE", path, f"a whole number, not {number}")
    return int(number)


def atr_period(source: Mapping[str, Any], path: str) -> int:
    return whole(source.get("period", 14), f"{path}.period", MAX_PERIOD)


def no_period(source: Mapping[str, Any], path: str) -> None:
    if source.get("period") is not None:
        raise ContractError("CONTRADICTION", f"{path}.period", "only an atr distance has a period")


def plain(number: Decimal | None) -> int | float | None:
    if number is None:
        return None
    return int(number) if number == int(number) else float(number)
