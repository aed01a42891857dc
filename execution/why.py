"""Why something happened, or did not: one chain from the cause over the rule and the gates to orders, fills and result.

A page and the API show the same steps. What is asked for by name is the asker's own, or it is not found.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from execution.models import Group, Intent, Order
from execution.states import OrderState
from execution.story import OrderStory, tell_order
from risk.gates.finding import Outcome
from risk.models import Assessment, Verdict
from strategies.models import Signal
from trading.domain.errors import NotFound
from trading.domain.formatting import price, rupees
from trading.domain.money import to_rupees
from trading.monitoring.models import Alert

KINDS = ("signal", "intent", "order", "alert")


@dataclass(frozen=True, slots=True)
class Step:
    """One link of the chain: what it was, in words, with its numbers. `at` is wall time unless `venue`."""

    what: str
    words: str
    at: datetime | None = None
    venue: bool = False
    code: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    order_id: int | None = None


@dataclass(frozen=True, slots=True)
class Why:
    """`answer` is the whole of it in a sentence; `code` is of what stopped it, "" where it went through."""

    kind: str
    title: str
    answer: str
    code: str
    steps: tuple[Step, ...] = field(default=())


def tell_why(user: Any, kind: str, ref: str) -> Why:
    """The chain of a signal, an intent (a click), an order or an alert of this person. NotFound for all else."""
    if kind == "signal":
        return _of_signal(_mine(Signal.objects.for_user(user), _uuid(ref)))
    if kind == "intent":
        return _of_intent(_mine(Intent.objects.for_user(user), _uuid(ref)))
    if kind == "order" and ref.isdecimal() and len(ref) < 19:
        return _of_intent(_mine(Order.objects.for_user(user), int(ref)).intent)
    if kind == "alert" and ref.isdecimal() and len(ref) < 19:
        whose = Q(owner_id=user.pk) | (Q(owner_id=None) if user.is_staff else Q(pk=None))
        return _of_alert(user, _mine(Alert.objects.filter(whose), int(ref)))
    raise NotFound("UNKNOWN_CAUSE", "There is no such thing to ask about.")


def _uuid(ref: str) -> UUID:
    try:
        return UUID(ref)
    except ValueError:
        raise NotFound("UNKNOWN_CAUSE", "There is no such thing to ask about.") from None


def _mine(rows: Any, pk: Any) -> Any:
    row = rows.filter(pk=pk).first()
    if row is None:
        raise NotFound("UNKNOWN_CAUSE", "There is no such thing to ask about.")
    return row


def _of_signal(signal: Signal) -> Why:
    intent = Intent.objects.filter(signal=signal).order_by("created_at").first()
    if intent is not None:
        return _of_intent(intent)
    steps: tuple[Step, ...] = (_signal_step(signal),)
    answer = signal.refusal or (
        "It waits to be decided." if signal.state == Signal.State.NEW else "Nothing came of it."
    )
    if signal.refusal_code:
        steps += (Step("Refused", signal.refusal, code=signal.refusal_code),)
    return Why("signal", f"{signal.side} {signal.instrument.ticker}", answer, signal.refusal_code, steps)


def _signal_step(signal: Signal) -> Step:
    facts = [
        ("Strategy" if signal.deployment else "Hook", signal.author), ("Entry", price(signal.entry)),
        ("Stop", price(signal.stop) if signal.stop is not None else "none"),
        ("Target", price(signal.target) if signal.target is not None else "none"),
    ]  # fmt: skip
    facts += [(str(name), _shown(value)) for name, value in signal.features.items()]
    return Step("Signal", signal.explanation, at=signal.bar_at, venue=True, facts=tuple(facts))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _of_intent(intent: Intent) -> Why:
    steps: list[Step] = []
    title = f"{intent.reason.replace('_', ' ').capitalize()}: {intent.side.lower()} {intent.wanted_quantity} "
    title += intent.instrument.ticker
    signal = intent.signal or (intent.group.signal if intent.group else None)
    if signal is not None:
        steps.append(_signal_step(signal))
    if intent.signal is None:
        who = {
            "SYSTEM": "The desk itself",
            "PAGE": f"{intent.actor} at the ticket",
            "API": f"A program of {intent.actor}",
        }
        words = f"{who.get(intent.source, intent.actor)} asked for it."
        steps.append(Step("Asked for", words, at=intent.created_at, facts=(("By", intent.actor),)))
    seen = Assessment.objects.filter(intent_id=intent.pk).first()
    verdicts = tuple(seen.verdicts) if seen else ()
    facts = [("Wanted", str(intent.wanted_quantity)), ("Allowed", str(intent.allowed_quantity))]
    if seen is not None:
        facts.append(("Limits", seen.policy))
    if seen is not None and "equity_paise" in seen.snapshot:
        facts.append(("Equity", rupees(seen.snapshot["equity_paise"])))
    said = intent.refusal or _passed(verdicts)
    steps.append(
        Step("Gates", said, at=intent.created_at, code=intent.refusal_code, facts=tuple(facts), verdicts=verdicts)
    )
    orders = list(Order.objects.filter(intent=intent).select_related("instrument").order_by("child"))
    if not orders:
        answer = intent.refusal or {"WAITING": "It waits for a person's yes."}.get(intent.state, "No order came of it.")
        return Why("intent", title, answer, intent.refusal_code, tuple(steps))
    if len(orders) > 1:
        sizes = " + ".join(str(order.quantity) for order in orders)
        steps.append(Step("Orders", f"Sent in {len(orders)} orders: {sizes}.", at=orders[0].created_at))
    stories = [tell_order(order) for order in orders]
    for story in stories:
        steps += _order_steps(story)
    steps += _trade_steps(stories[0], told={order.pk for order in orders})
    return Why("order", title, _answer_of_all(stories), _code(orders), tuple(steps))


def _passed(verdicts: Iterable[Verdict]) -> str:
    shrunk = [one.gate.replace("_", " ").lower() for one in verdicts if one.outcome == Outcome.SHRINK]
    return f"Allowed, made smaller by {', '.join(shrunk)}." if shrunk else "Every gate let it pass."


def _order_steps(story: OrderStory) -> list[Step]:
    steps = []
    for event in story.events:
        facts = tuple((str(name), _shown(value)) for name, value in event.detail.items())
        words = event.kind.replace(".", " ").replace("_", " ").capitalize()
        if event.from_state != event.to_state:
            words += f": {event.from_state.lower() or 'new'} to {event.to_state.lower()}"
        if not event.applied:
            words += ", which changed nothing"
        steps.append(Step("Order", f"{words}.", at=event.at, facts=facts, order_id=story.order.pk))
    for told in story.fills:
        fill = told.fill
        slip = "" if told.slippage_bps is None else f", {told.slippage_bps} bps from the decision"
        steps.append(
            Step("Fill", f"{fill.quantity} at {price(fill.price)}{slip}.", at=fill.filled_at, venue=True,
                 facts=(("Trade", fill.broker_trade_id), ("Heard by", fill.source)), order_id=story.order.pk)
        )  # fmt: skip
    return steps


def _trade_steps(story: OrderStory, *, told: Collection[int]) -> list[Step]:
    steps = []
    for other in story.siblings:
        if other.pk not in told:
            words = (
                f"{other.reason.replace('_', ' ').lower()} {other.side.lower()} {other.quantity}: {other.state.lower()}"
            )
            steps.append(Step("Same trade", f"{words.capitalize()}.", at=other.created_at, order_id=other.pk))
    trade = story.trade
    if trade is not None:
        facts = (("Gross", rupees(trade.gross_paise)), ("Charges", rupees(trade.charges_paise)))
        words = f"Closed by {trade.exit_reason.replace('_', ' ').lower()}: net {rupees(trade.net_paise)}."
        steps.append(Step("Result", words, at=trade.closed_at, venue=True, facts=facts))
    return steps


_ENDS = {
    OrderState.WITHDRAWN: "It never left", OrderState.REJECTED: "The broker refused it",
    OrderState.EXPIRED: "It expired", OrderState.CANCELLED: "It was cancelled",
    OrderState.NOT_PLACED: "It was proved never to have arrived", OrderState.UNKNOWN: "Nobody knows yet",
}  # fmt: skip


def _answer(story: OrderStory) -> str:
    order: Order = story.order
    if order.filled_quantity:
        filled = f"{order.filled_quantity} of {order.quantity} filled at {order.average_price}"
        return f"{filled}; {story.group.state.lower()}." if not story.trade else f"{filled}; the trade is over."
    ended = _ENDS.get(OrderState(order.state))
    if ended is None:
        return f"It is {order.state.lower()}: nothing has filled yet."
    return f"{ended}: {order.broker_message.rstrip('.')}." if order.broker_message else f"{ended}."


def _answer_of_all(stories: Sequence[OrderStory]) -> str:
    """What became of all orders of one wish."""
    filled = sum(story.order.filled_quantity for story in stories)
    if len(stories) == 1 or not filled:
        return _answer(stories[0])
    worth = sum(story.order.fill_value_paise for story in stories)
    words = f"{filled} of {sum(story.order.quantity for story in stories)} filled at {to_rupees(round(worth / filled))}"
    return f"{words}; the trade is over." if stories[0].trade else f"{words}; {stories[0].group.state.lower()}."


def _code(orders: Sequence[Order]) -> str:
    ended = all(order.state in _ENDS and not order.filled_quantity for order in orders)
    return orders[0].state if ended else ""


def _of_alert(user: Any, alert: Alert) -> Why:
    """The alert itself, and the chain of what it is about where that can be named."""
    first = Step(
        "Alert", alert.message, at=alert.first_at, code=alert.code,
        facts=(("Times", str(alert.count)), ("Next step", alert.next_step or "none")),
    )  # fmt: skip
    about = alert.dedupe_key.split(":", 2)[-1]
    chain = _about(user, about)
    if chain is None:
        return Why("alert", alert.code.replace("_", " ").capitalize(), alert.message, alert.code, (first,))
    return Why("alert", alert.code.replace("_", " ").capitalize(), alert.message, alert.code, (first, *chain.steps))


def _about(user: Any, about: str) -> Why | None:
    try:
        group = Group.objects.for_user(user).filter(pk=UUID(about)).first()
    except ValueError:
        group = None
    if group is not None:
        order = group.orders.order_by("pk").first()
        return _of_intent(order.intent) if order else None
    return None
