"""What changed between two versions, field by field. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """One field; an empty text stands for one that is not there. `words`: text in pieces, each kept, gone or new."""

    path: str
    before: str
    after: str

    @property
    def words(self) -> list[tuple[str, str]]:
        before, after = self.before.split(), self.after.split()
        pieces: list[tuple[str, str]] = []
        for tag, a, b, c, d in difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
            if tag == "equal":
                pieces.append(("kept", " ".join(before[a:b])))
                continue
            if a < b:
                pieces.append(("gone", " ".join(before[a:b])))
            if c < d:
                pieces.append(("new", " ".join(after[c:d])))
        return pieces


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every field whose text differs, in the order of the newer body, then what is gone."""
    old, new = _flat(before), _flat(after)
    paths = [*new, *(path for path in old if path not in new)]
    return [Change(path, old.get(path, ""), new.get(path, "")) for path in paths if old.get(path) != new.get(path)]


def _flat(value: Mapping[str, Any], path: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, each in value.items():
        where = f"{path}.{name}" if path else str(name)
        if isinstance(each, Mapping):
            found |= _flat(each, where)
        elif isinstance(each, Sequence) and not isinstance(each, str):
            if any(isinstance(one, Mapping) for one in each):
                for place, one in enumerate(each):
                    found |= _flat(one, f"{where}[{place}]")
            else:
                found[where] = ", ".join(map(str, each))
        elif each is not None:
            found[where] = str(each)
    return found
