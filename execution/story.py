"""Why it happened, told from the beginning: signal, verdicts with their numbers, orders, fills, exits, charges."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from execution.models import ChaseStep, Fill, Group, Intent, Order, OrderEvent
from execution.quality import stages_of
from risk.models import Assessment, Verdict
from strategies.models import Signal
from trading.domain.orders import Side
from trading.portfolio.models import ClosedTrade, LedgerEntry, LedgerTransaction


@dataclass(frozen=True, slots=True)
class SignalStory:
    """One signal with what became of it."""

    signal: Signal
    intent: Intent | None
    order: Order | None
    verdicts: list[Verdict]

    @property
    def refusal(self) -> str:
        """The sentence that stopped it, from the signal itself or from the gate that said no."""
        if self.signal.refusal:
            return self.signal.refusal
        return self.intent.refusal if self.intent else ""

    @property
    def refusal_code(self) -> str:
        return self.signal.refusal_code or (self.intent.refusal_code if self.intent else "")


def tell_signals(signals: Iterable[Signal]) -> list[SignalStory]:
    """The stories of these signals, in their order; three queries however many they are."""
    rows = list(signals)
    intents = {
        intent.signal_id: intent
        for intent in Intent.objects.filter(signal__in=rows).select_related("instrument").order_by("created_at")
    }
    ids = [intent.pk for intent in intents.values()]
    orders = {order.intent_id: order for order in Order.objects.filter(intent__in=ids)}
    verdicts = Assessment.objects.verdicts_of(ids)
    return [
        SignalStory(
            signal=signal,
            intent=(intent := intents.get(signal.pk)),
            order=orders.get(intent.pk) if intent else None,
            verdicts=verdicts.get(intent.pk, []) if intent else [],
        )
        for signal in rows
    ]


@dataclass(frozen=True, slots=True)
class FillStory:
    """One fill with what it cost against the price at the decision. Positive slippage is a loss, in basis points."""

    fill: Fill
    slippage_bps: Decimal | None


@dataclass(frozen=True, slots=True)
class OrderStory:
    order: Order
    intent: Intent
    signal: Signal | None
    group: Group
    verdicts: list[Verdict]
    events: list[OrderEvent]
    fills: list[FillStory]
    siblings: list[Order]
    chase: list[ChaseStep] = field(default_factory=list)
    charges: list[tuple[str, int]] = field(default_factory=list)
    trade: ClosedTrade | None = None

    @property
    def entries(self) -> list[Order]:
        return [order for order in self.siblings if order.reason == "ENTRY"]

    @property
    def exits(self) -> list[Order]:
        return [order for order in self.siblings if order.reason != "ENTRY"]

    @property
    def stages(self) -> list[tuple[str, float | None]]:
        """Name and milliseconds of every stage, from the signal to the end."""
        return stages_of(self.order, self.intent)


def tell_order(order: Order) -> OrderStory:
    """All that is known of one order. The caller has made sure whose it is."""
    intent = Intent.objects.select_related("signal__deployment__version__contract", "instrument").get(
        pk=order.intent_id
    )
    group = Group.objects.select_related("instrument", "signal__deployment__version__contract").get(pk=order.group_id)
    fills = list(order.fills.order_by("filled_at", "id"))
    return OrderStory(
        order=order,
        intent=intent,
        signal=intent.signal or group.signal,
        group=group,
        verdicts=Assessment.objects.verdicts_of([intent.pk])[intent.pk],
        events=list(order.events.order_by("seq")),
        fills=[FillStory(fill, slippage_bps(order, fill.price)) for fill in fills],
        siblings=list(group.orders.select_related("instrument").order_by("id")),
        chase=list(order.chase_steps.order_by("number")),
        charges=charge_lines(order.portfolio_id, [fill.execution_key for fill in fills]),
        trade=ClosedTrade.objects.filter(portfolio=order.portfolio_id, group_ref=group.pk).first(),
    )


def slippage_bps(order: Order, price: Decimal) -> Decimal | None:
    """How much worse than the price at the decision, in basis points; None where that price was not kept."""
    reference = order.arrival_price or order.decision_price
    if not reference:
        return None
    return ((price - reference) * Side(order.side).sign / reference * 10_000).quantize(Decimal("0.1"))


def charge_lines(portfolio_id: int, execution_keys: Iterable[str]) -> list[tuple[str, int]]:
    """What these fills cost, by the ledger's own accounts, paise."""
    rows = (
        LedgerEntry.objects.filter(
            transaction__portfolio=portfolio_id,
            transaction__kind=LedgerTransaction.Kind.CHARGES,
            transaction__key__in=[f"charges:{key}" for key in execution_keys],
        )
        .exclude(account=LedgerEntry.Account.CASH)
        .values("account")
        .annotate(paise=Sum("amount_paise"))
        .order_by("account")
    )
    names: dict[Any, Any] = dict(LedgerEntry.Account.choices)
    return [(str(names[row["account"]]), row["paise"]) for row in rows if row["paise"]]
