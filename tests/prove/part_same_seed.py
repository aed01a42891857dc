"""The same seed twice, in two processes: the same orders, the same events, the same fills."""

import hashlib

from execution.models import Order
from tests.prove import crash
from tests.prove.parts import Part, Tried, register
from tests.prove.trial import run_trial


def event_log(portfolio_id: int) -> str:
    """A hash of everything that was said about every order, but for the names and instants that differ by nature."""
    lines = []
    for order in Order.objects.filter(portfolio_id=portfolio_id).order_by("pk").prefetch_related("events", "fills"):
        lines.append(
            f"{order.reason} {order.side} {order.quantity} {order.order_type} {order.limit_price} {order.state}"
        )
        lines += [
            f"{event.seq} {event.kind} {event.source} {event.from_state} {event.to_state} {event.applied}"
            for event in order.events.all()
        ]
        lines += [f"{fill.broker_trade_id} {fill.quantity} {fill.price}" for fill in order.fills.all()]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def _twice(stage: crash.Stage, unit: str) -> Tried:
    scenario, _, seed = unit.partition(":")
    logs, trouble = [], []
    for _ in range(2):
        outcome = run_trial(stage, seed=f"same:{seed}", scenario=scenario)
        trouble += outcome.trouble
        logs.append(event_log(outcome.portfolio_id))
    if logs[0] != logs[1]:
        trouble.append(f"two event logs: {logs[0]} and {logs[1]}")
    return Tried({"pairs": 1}, trouble)


register(
    Part(
        name="same-seed",
        claim="the same seed gives the same event log in two processes",
        size=10,
        units=lambda size: [f"{scenario}:{seed}" for seed in range(size) for scenario in ("trade", "pieces", "hand")],
        prepare=crash.stage,
        attempt=_twice,
    )
)
