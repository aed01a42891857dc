"""Ten thousand orders of random alerts: none that the exchange refuses for its price, its size or its band."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.prove.parts import Part, Tried, register
from tests.prove.precise import precise_desk

ALERTS = 60


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _walk(_: None, unit: str) -> Tried:
    with precise_desk(int(unit.split()[1])) as desk:
        desk.walk(ALERTS)
        states = {f"signals {name}": count for name, count in desk.told().items()}
        return Tried({"orders": desk.sent(), "alerts": ALERTS, **states}, desk.wrong())


register(
    Part(
        name="precision",
        claim="no order is refused for its tick, lot, freeze quantity or price band",
        size=33,
        units=lambda size: [f"seed {number}" for number in range(size)],
        prepare=_nothing,
        attempt=_walk,
    )
)
