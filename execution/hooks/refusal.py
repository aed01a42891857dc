"""Why an alert was not taken, for programs and for people, with what was wrong in each field."""

from dataclasses import dataclass, field
from typing import Any

MOST_ERRORS = 25
LONGEST_WORD = 80


@dataclass(frozen=True, slots=True)
class FieldError:
    """`field` is its path (`tv.entry_price`), `code` is stable."""

    field: str
    code: str
    message: str

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field[:120], "code": self.code, "message": self.message[:300]}


class Refused(Exception):
    """Nothing was traded. `status` is that of the HTTP answer; `more` are further members of the problem."""

    def __init__(
        self, status: int, code: str, detail: str, errors: list[FieldError] | None = None, **more: object
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors = [one.as_dict() for one in (errors or [])[:MOST_ERRORS]]
        self.more = more


@dataclass(slots=True)
class Findings:
    """What is wrong with an alert, gathered field by field."""

    found: list[FieldError] = field(default_factory=list)

    def add(self, path: str, code: str, message: str) -> None:
        self.found.append(FieldError(path, code, message))

    def refuse_if_any(self) -> None:
        if self.found:
            first = self.found[0]
            raise Refused(400, "INVALID_ALERT", f"{first.field}: {first.message}"[:400], self.found)


def quoted(value: Any) -> str:
    """A foreign value inside a sentence: short, on one line."""
    text = value if isinstance(value, str) else str(value)
    return repr(text[:LONGEST_WORD])
