"""The laws of positions, ledger and orders, on desks that are pushed about at random: many, and for long."""

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.test_desk_machine import DeskMachine
from tests.prove.parts import Part, Tried, register

EXAMPLES, STEPS = 5, 50


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _push_about(_: None, unit: str) -> Tried:
    class Seeded(DeskMachine):
        pass

    long = settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(seed(int(unit.split()[1]))(Seeded), settings=long)
    return Tried({"examples": EXAMPLES, "steps at most": EXAMPLES * STEPS})


register(
    Part(
        name="laws",
        claim="the laws of the ledger hold after every step of a desk that is pushed about",
        size=40,
        units=lambda size: [f"seed {number}" for number in range(size)],
        prepare=_nothing,
        attempt=_push_about,
    )
)
