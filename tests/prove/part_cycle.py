"""A whole cycle in every way of taking profit, killed between any two of its steps."""

from tests.prove import crash
from tests.prove.parts import Part, Tried, register
from tests.prove.trial import CYCLES, Kill, run_trial
from trading.domain.crashpoint import POINTS

FAMILIES = ("intake.", "risk.", "dispatch.", "fills.", "protect.", "exit.", "ladder.", "parts.", "pool.", "house.")
ON_ITS_WAY = tuple(point for point in POINTS if point.startswith(FAMILIES))
HITS = (1, 2, 4, 7)
"""At which passing of a point it dies: a cycle passes most of them many times."""


def cycle(stage: crash.Stage, unit: str) -> Tried:
    """One cycle with one death, "way:point:hit"; a point that this way does not pass so often kills nobody."""
    way, point, hit = unit.split(":")
    outcome = run_trial(stage, seed=f"cycle:{unit}", scenario=way, kills=(Kill(point, int(hit)),), roughness=0.0)
    counts = {"kills": len(outcome.killed), "lives": outcome.lives, "orders": outcome.orders, "fills": outcome.fills}
    return Tried(counts | {"not on its way": 0 if outcome.killed else 1}, outcome.trouble)


register(
    Part(
        name="cycle",
        claim="entry, legs, take-profits, closed, slot, next: killed between any two steps in every way of profit",
        size=len(HITS),
        units=lambda size: [f"{way}:{point}:{hit}" for hit in HITS[:size] for point in ON_ITS_WAY for way in CYCLES],
        prepare=crash.stage,
        attempt=cycle,
    )
)
