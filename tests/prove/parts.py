"""A part of the proof: a claim, and units that can each be tried alone, so that a run may be cut and resumed."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tried:
    """What one unit came to: how often each thing was counted, and what was wrong."""

    counts: dict[str, int] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """`units(size)` names what is tried, `attempt` tries one of them on what `prepare` set up.

    `size` is what is asked of this part when nobody says otherwise: seeds for each point, rounds, bodies.
    """

    name: str
    claim: str
    size: int
    units: Callable[[int], Iterable[str]]
    prepare: Callable[[], AbstractContextManager[Any]]
    attempt: Callable[[Any, str], Tried]


PARTS: dict[str, Part] = {}


def register(part: Part) -> Part:
    PARTS[part.name] = part
    return part


def of_seeds(names: Iterable[str]) -> Callable[[int], Iterator[str]]:
    """Units "name:seed", all names of the first seed before the second: a run that is cut has seen every name."""
    kept = list(names)
    return lambda size: (f"{name}:{seed}" for seed in range(size) for name in kept)
