"""A wish, and what gates may see of it and say to it. Nothing is stored here, and no room taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from execution.kill_scopes import strategy_of
from execution.models import Group, Intent, Leg, ParentOrder, PartExit
from execution.outstanding import Outstanding, outstanding
from risk.assess import run_gates
from risk.gates import MOMENT_GATES
from risk.gates.finding import Finding, Gate, Outcome, Snapshot
from risk.gates.per_trade import MEAN_REVERSION
from risk.market_facts import NOTHING_MEASURED, market_facts
from risk.policies import limits_in
from risk.reserve import claims_of
from risk.snapshot import Standing, is_option, standing_of, take_snapshot
from strategies.contracts.schema import Regime
from strategies.models import Signal
from trading.domain.money import to_paise
from trading.domain.orders import OrderIntent, OrderType, Product, Reason, Side
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants done. Prices in rupees on the tick, quantity in units.

    `dedupe_key` says what makes a repeat the same wish; `group` is the trade an exit belongs to.
    """

    source: str
    reason: Reason
    dedupe_key: str
    actor: str
    instrument: Instrument
    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    signal: Signal | None = None
    signal_age_s: float | None = None
    group: Group | None = None
    needs_approval: bool = False
    leg: Leg | None = None
    part: PartExit | None = None
    parent: ParentOrder | None = None
    forced_by: str = ""  # who lets it in although the pool is full
    adds: bool = False  # to a trade that was let in: it takes no further place


def contract_of(wish: Wish) -> int | None:
    """The contract whose idea it is."""
    signal = wish.signal
    return signal.deployment.version.contract_id if signal and signal.deployment else None


def seen(
    portfolio: Portfolio, wish: Wish, standing: Standing, under_way: Outstanding
) -> tuple[OrderIntent, Snapshot]:  # fmt: skip
    """The wish as gates see it, and all else that they may see."""
    opens, instrument, quote = wish.reason.opens, wish.instrument, standing.quotes.get(wish.instrument.symbol)
    facts = NOTHING_MEASURED
    if opens:  # nothing of it could keep an exit in
        facts = market_facts(
            portfolio.account.feed, instrument, sign=wish.side.sign, held=(*standing.held, *under_way.begun),
            now=standing.now, previous_close=quote.previous_close if quote else None,
        )  # fmt: skip
    snapshot = take_snapshot(
        portfolio=portfolio, instrument=instrument, standing=standing, engine_ready=under_way.engine_ready,
        engine_cause=under_way.engine_cause, market=facts, working=under_way.working,
        symbol_risk_paise=at_risk(wish.group) if opens and wish.adds and wish.group is not None else 0,
    )  # fmt: skip
    asked = OrderIntent(
        instrument_id=instrument.pk,
        symbol=instrument.symbol,
        side=wish.side,
        quantity=wish.quantity,
        price=wish.limit_price or wish.trigger_price or snapshot.last_price or Decimal(0),
        product=wish.product,
        reason=wish.reason,
        lot_size=instrument.lot_size,
        tick_size=instrument.tick_size,
        tradable=instrument.is_tradable,
        stop_price=wish.stop_price,
        reduces=not opens,
        adds=wish.adds,
        signal_age_s=wish.signal_age_s,
        strategy=strategy_of(wish.signal),
        family=_family(wish.signal),
        sector=instrument.own_sector,
        underlying=instrument.underlying_name,
        segment=instrument.segment,
        is_option=is_option(instrument),
        freeze_quantity=instrument.spec.freeze_quantity,
        lower_band=standing.band[0] if standing.band else None,
        upper_band=standing.band[1] if standing.band else None,
        repeat_age_s=under_way.repeat_age_s,
    )
    return asked, snapshot


def at_risk(group: Group) -> int:
    """What a trade loses at its stop, paise: what is held of it, and what still works for it; 0 where it only gains."""
    if group.stop_price is None:
        return 0
    quantity, value = 0, 0
    for order in group.orders.order_by("pk"):  # what was closed cost what had been paid until then
        if order.reason != Reason.ENTRY:
            average = value // quantity if quantity else 0
            quantity, value = quantity - order.filled_quantity, value - average * order.filled_quantity
        else:
            price = order.limit_price or order.decision_price or group.stop_price
            works = 0 if order.is_final else order.remaining_quantity
            quantity, value = quantity + order.filled_quantity + works, value + order.fill_value_paise
            value += to_paise(price) * works
    return max(0, (value - to_paise(group.stop_price) * quantity) * Side(group.side).sign)


def _family(signal: Signal | None) -> str:
    """How it means to earn: an idea for a market that goes sideways expects the price to come back."""
    if signal is None or signal.deployment is None:
        return ""
    regime = signal.deployment.version.body.get("regime", Regime.ANY)
    return MEAN_REVERSION if regime == Regime.RANGE else str(regime)


@dataclass(frozen=True, slots=True)
class Judged:
    """What gates say of an intent that was let in before, and by bucket how much room there is in all."""

    findings: tuple[Finding, ...]
    caps: Mapping[str, int]


def ask_again(*, intent: Intent, now: datetime) -> Finding | None:
    """What the market says against an intent that waited; None where nothing does. Room was taken for it before."""
    judged = judge_again(
        intent=intent, quantity=intent.allowed_quantity, limit_price=intent.limit_price, gates=MOMENT_GATES, now=now
    )
    last = judged.findings[-1]
    return last if last.outcome is Outcome.REJECT else None


def judge_again(
    *, intent: Intent, quantity: int, limit_price: Decimal | None, gates: tuple[Gate, ...], now: datetime
) -> Judged:
    """Some gates about an intent that was let in, as it would be now: so many units at that limit."""
    portfolio = intent.portfolio
    standing = standing_of(portfolio, intent.instrument, now=now, strategy=strategy_of(intent.signal))
    wish = Wish(
        source=intent.source, reason=Reason(intent.reason), dedupe_key=intent.dedupe_key, actor=intent.actor,
        instrument=intent.instrument, side=Side(intent.side), quantity=quantity,
        order_type=OrderType(intent.order_type), product=Product(intent.product), limit_price=limit_price,
        trigger_price=intent.trigger_price, stop_price=intent.stop_price, target_price=intent.target_price,
        adds=True,
    )  # fmt: skip
    return _judge(portfolio, wish, standing, gates)


def judge(*, portfolio: Portfolio, wish: Wish, gates: tuple[Gate, ...], now: datetime) -> Judged:
    """Some gates about a wish that nobody has been asked about yet; nothing is stored, and no room taken."""
    standing = standing_of(portfolio, wish.instrument, now=now, strategy=strategy_of(wish.signal))
    return _judge(portfolio, wish, standing, gates)


def _judge(portfolio: Portfolio, wish: Wish, standing: Standing, gates: tuple[Gate, ...]) -> Judged:
    under_way = outstanding(
        portfolio, wish.instrument, wish.side, opens=wish.reason.opens, contract_id=contract_of(wish)
    )  # fmt: skip
    asked, snapshot = seen(portfolio, wish, standing, under_way())
    limits = limits_in(standing.policy.pk)
    claims = claims_of(asked, snapshot, limits, standing.keys, account_equity_paise=standing.account_equity_paise)
    return Judged(run_gates(asked, snapshot, limits, gates), {claim.key: claim.cap for claim in claims})
