"""A whole cycle in every way of taking profit, killed between any two of its steps."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.prove import crash
from tests.prove.parts import Part, Tried, register
from tests.prove.trial import CYCLES, Kill, Outcome, run_trial
from trading.domain.crashpoint import POINTS

FAMILIES = ("intake.", "risk.", "dispatch.", "fills.", "protect.", "exit.", "ladder.", "parts.", "pool.", "house.")
ON_ITS_WAY = tuple(point for point in POINTS if point.startswith(FAMILIES))
HITS = (1, 2, 4, 7)
"""At which passing of a point it dies: a cycle passes most of them many times."""


@dataclass
class Cycles:
    """A stage, and how often each way passes each point when nobody dies."""

    stage: crash.Stage
    passes: dict[str, Counter[str]] = field(default_factory=dict)

    def passes_of(self, way: str) -> Outcome | None:
        """Walks the way once for the whole part, the first time that it is asked for; then None."""
        if way in self.passes:
            return None
        outcome = run_trial(self.stage, seed=f"cycle:{way}", scenario=way, roughness=0.0)
        self.passes[way] = outcome.passed
        return outcome


@contextmanager
def _cycles() -> Iterator[Cycles]:
    with crash.stage() as stage:
        yield Cycles(stage)


def cycle(cycles: Cycles, unit: str) -> Tried:
    """One cycle with one death, "way:point:hit". Where this way does not pass the point so often nobody would die, and
    the walk would be the one that all of them have in common."""
    way, point, hit = unit.split(":")
    whole = cycles.passes_of(way)
    if whole is not None and whole.trouble:
        return Tried({"whole": 1}, whole.trouble)
    counts = {"whole": int(whole is not None)}
    if int(hit) > cycles.passes[way][point]:
        return Tried(counts | {"not on its way": 1})
    outcome = run_trial(cycles.stage, seed=f"cycle:{unit}", scenario=way, kills=(Kill(point, int(hit)),), roughness=0.0)
    counts |= {"kills": len(outcome.killed), "lives": outcome.lives, "orders": outcome.orders, "fills": outcome.fills}
    return Tried(counts | {"not on its way": 0 if outcome.killed else 1}, outcome.trouble)


register(
    Part(
        name="cycle",
        claim="entry, legs, take-profits, closed, slot, next: killed between any two steps in every way of profit",
        size=len(HITS),
        units=lambda size: [f"{way}:{point}:{hit}" for hit in HITS[:size] for point in ON_ITS_WAY for way in CYCLES],
        prepare=_cycles,
        attempt=cycle,
    )
)
