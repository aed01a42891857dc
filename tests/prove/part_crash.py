"""Crash safety, and the oracle's own examination."""

from tests.prove import crash
from tests.prove.designs import DESIGNS
from tests.prove.parts import Part, Tried, of_seeds, register
from trading.domain.crashpoint import POINTS


def _die(stage: crash.Stage, unit: str) -> Tried:
    point, _, seed = unit.rpartition(":")
    outcome = crash.run(stage, crash.trial_of(point, int(seed)))
    reached = point in outcome.killed
    counts = {"kills": len(outcome.killed), "lives": outcome.lives, "orders": outcome.orders, "fills": outcome.fills}
    return Tried(counts | {"not reached": 0 if reached else 1}, outcome.trouble)


def _see_through(stage: crash.Stage, unit: str) -> Tried:
    trials = crash.caught(stage, unit)
    return Tried({"caught": int(trials is not None), "trials": trials or 0}, [] if trials else ["was never caught"])


register(
    Part(
        name="crash",
        claim="killed at any named point, nothing is doubled, lost or stuck",
        size=50,
        units=of_seeds(POINTS),
        prepare=crash.stage,
        attempt=_die,
    )
)
register(
    Part(
        name="oracle",
        claim="the oracle sees through each of the broken designs",
        size=1,
        units=lambda _: list(DESIGNS),
        prepare=crash.stage,
        attempt=_see_through,
    )
)
