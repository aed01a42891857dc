"""The same seed in two processes: the same orders, the same events, the same fills."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.prove import crash
from tests.prove.parts import Part, Tried, register
from tests.prove.trial import Stage
from tests.prove.twin import Twin, twin, walk

SCENARIOS = ("trade", "pieces", "hand", "signal", "ladder", "resting", "large", "offset", "chase")


@contextmanager
def _both() -> Iterator[tuple[Stage, Twin]]:
    with crash.stage() as stage, twin() as other:
        yield stage, other


def same_here_and_there(both: tuple[Stage, Twin], unit: str) -> Tried:
    """One trial in each process."""
    scenario, _, seed = unit.partition(":")
    stage, other = both
    here, wrong_here = walk(stage, scenario, f"same:{seed}")
    there, wrong_there = other.log(scenario, f"same:{seed}")
    trouble = wrong_here + wrong_there
    if here != there:
        trouble.append(f"two event logs: {here} and {there}")
    return Tried({"pairs": 1}, trouble)


register(
    Part(
        name="same-seed",
        claim="the same seed gives the same event log in two processes",
        size=10,
        units=lambda size: [f"{scenario}:{seed}" for seed in range(size) for scenario in SCENARIOS],
        prepare=_both,
        attempt=same_here_and_there,
    )
)
