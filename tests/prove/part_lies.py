"""A broker that loses words, lies and lags, and nobody is killed: the desk still agrees with it in the end."""

from tests.prove import crash
from tests.prove.parts import Part, Tried, register
from tests.prove.trial import run_trial

LIED_TO = (*crash.SCENARIOS, "approval", "counted")


def _believe_nothing(stage: crash.Stage, unit: str) -> Tried:
    scenario, _, seed = unit.partition(":")
    outcome = run_trial(stage, seed=f"lies:{unit}", scenario=scenario, roughness=(0.6, 0.8, 1.0)[int(seed) % 3])
    return Tried({"trials": 1, "orders": outcome.orders, "fills": outcome.fills}, outcome.trouble)


register(
    Part(
        name="lies",
        claim="whatever the broker loses, doubles, delays or denies, both sides agree in the end",
        size=100,
        units=lambda size: [
            f"{scenario}:{seed}" for seed in range(size) for scenario in (*crash.SCENARIOS, "approval", "counted")
        ],
        prepare=crash.stage,
        attempt=_believe_nothing,
    )
)
