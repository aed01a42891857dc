"""A wish becomes an intent: asked of every gate, its room reserved, its order written, all in one transaction."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from execution.kill_scopes import strategy_of
from execution.models import Group, Intent, Leg, ParentOrder, PartExit
from execution.outstanding import Outstanding, outstanding
from execution.services.order_queue import order_queue
from execution.services.slot_reserve import Room, slot_asked
from risk.assess import ApprovedIntent, RefusedIntent, assess, run_gates, store_verdicts
from risk.gates import MOMENT_GATES
from risk.gates.finding import Finding, Gate, Limits, Outcome, Snapshot
from risk.gates.per_trade import MEAN_REVERSION
from risk.market_facts import NOTHING_MEASURED, market_facts
from risk.models import RiskPolicy
from risk.policies import limits_of
from risk.reserve import claims_of, release, reserve
from risk.snapshot import Standing, is_option, standing_asked, standing_of, take_snapshot
from strategies.contracts.schema import Regime
from strategies.models import Signal
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.domain.money import to_paise
from trading.domain.orders import OrderIntent, OrderType, Product, Reason, Side
from trading.marketdata.models import Instrument
from trading.marketdata.quotes import last_quote
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish
from trading.statements import Select, insert, together

APPROVAL_S = 120
LARGEST_QUANTITY = 10_000_000
KNOWN = Select(Intent, where="WHERE t.portfolio_id = %(portfolio)s AND t.dedupe_key = %(key)s")
LISTED = Select(Instrument, where="WHERE t.symbol = %(symbol)s AND t.active")


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


def intent_create(*, portfolio: Portfolio, wish: Wish, now: datetime, standing: Standing | None = None) -> Intent:
    """The intent of a wish: approved with its order queued, refused with its reason, or waiting for a person.

    A repeat of the same wish returns the first intent. The same key for another wish is a Conflict. `standing` is for
    who has just read it for the same portfolio and instrument.
    """
    crashpoint("intake.asked")
    try:
        intent = _create(portfolio=portfolio, wish=wish, standing=standing, now=now)
    except IntegrityError:
        # Somebody with the same key, or the same instrument, was faster by a moment.
        known = _known(portfolio, wish)()
        if not known:
            raise Conflict("ALREADY_POSITIONED", f"Another order for {wish.instrument} was faster.") from None
        return _the_same(known[0], wish)
    crashpoint("intake.committed")
    return intent


def _known(portfolio: Portfolio, wish: Wish) -> Callable[[], list[Intent]]:
    return KNOWN.ask({"portfolio": portfolio.pk, "key": wish.dedupe_key})


def _the_same(intent: Intent, wish: Wish) -> Intent:
    same = (
        intent.instrument_id == wish.instrument.pk
        and intent.side == wish.side
        and intent.wanted_quantity == wish.quantity
        and intent.order_type == wish.order_type
        and intent.limit_price == wish.limit_price
        and intent.trigger_price == wish.trigger_price
        and intent.stop_price == wish.stop_price
        and intent.target_price == wish.target_price
        and intent.product == wish.product
    )
    if not same:
        raise Conflict("IDEMPOTENCY_KEY_REUSED", "This key was used for another order.")
    return intent


@transaction.atomic
def _create(*, portfolio: Portfolio, wish: Wish, standing: Standing | None, now: datetime) -> Intent:
    intent_id = uuid4()
    with together():
        # The pool before all else that a trade's beginning locks: everybody takes them in this order.
        room = slot_asked(portfolio.pk) if wish.reason.opens and wish.group is None else None
        # A new signal is locked by who decides it, and its intent is stored with its fate: it has none yet.
        known = _known(portfolio, wish) if wish.signal is None else None
        look = _look(portfolio, wish, now=now, standing=standing)
    if known is not None and (first := known()):
        return _the_same(first[0], wish)
    asked, snapshot, under_way, standing = look()
    limits = limits_of(standing.policy)
    verdict = assess(
        intent_id=intent_id, intent=asked, snapshot=snapshot, limits=limits, kill_epoch=standing.kill.epoch
    )
    crashpoint("risk.assessed")
    if isinstance(verdict, ApprovedIntent) and wish.reason.opens:
        verdict = (
            _in_quarantine(under_way, verdict)
            or _without_slot(room() if room else None, wish, verdict)
            or _reserve(portfolio, verdict, asked, snapshot, limits, standing)
        )
    intent = _drafted(intent_id, portfolio, wish, now)
    if isinstance(verdict, RefusedIntent):
        _refuse(intent, verdict)
    else:
        intent.allowed_quantity = verdict.quantity
        if intent.group is None:
            intent.group = Group(
                portfolio=portfolio, instrument=wish.instrument, product=wish.product, side=wish.side,
                signal=wish.signal, stop_price=wish.stop_price, target_price=wish.target_price,
                created_at=intent.created_at,
            )  # fmt: skip
        intent.state = Intent.State.WAITING if wish.needs_approval else Intent.State.APPROVED
        if wish.needs_approval:
            intent.decide_by = intent.created_at + timedelta(seconds=APPROVAL_S)
    with together():
        _write(intent, verdict, asked, snapshot, limits, standing.policy)
    publish(portfolio.owner_id, "position" if wish.signal is None else "signal", intent=str(intent.pk))
    return intent


def _drafted(intent_id: UUID, portfolio: Portfolio, wish: Wish, now: datetime) -> Intent:
    """The row of a wish that is not decided yet."""
    return Intent(
        id=intent_id,
        portfolio=portfolio,
        group=wish.group,
        signal=wish.signal,
        leg=wish.leg,
        part=wish.part,
        parent=wish.parent,
        source=wish.source,
        reason=wish.reason,
        dedupe_key=wish.dedupe_key,
        instrument=wish.instrument,
        product=wish.product,
        side=wish.side,
        order_type=wish.order_type,
        limit_price=wish.limit_price,
        trigger_price=wish.trigger_price,
        stop_price=wish.stop_price,
        target_price=wish.target_price,
        wanted_quantity=wish.quantity,
        allowed_quantity=0,
        actor=wish.actor,
        created_at=timezone.now(),
        venue_at=now,
    )


def _write(
    intent: Intent, verdict: ApprovedIntent | RefusedIntent, asked: OrderIntent, snapshot: Snapshot, limits: Limits,
    policy: RiskPolicy,
) -> None:  # fmt: skip
    """The intent with its trade and the verdicts on it; of an approved one the orders as well."""
    new = intent.group is not None and intent.group._state.adding
    insert(*([intent.group, intent] if new else [intent]))
    crashpoint("intake.intent_written")
    store_verdicts(
        portfolio_id=intent.portfolio_id, verdict=verdict, intent=asked, snapshot=snapshot, policy_id=policy.pk,
        policy=limits.name,
    )  # fmt: skip
    if intent.state == Intent.State.APPROVED and isinstance(verdict, ApprovedIntent):
        order_queue(intent=intent, kill_epoch=verdict.kill_epoch, decision_price=snapshot.last_price)


@dataclass(frozen=True, slots=True)
class Assessed:
    """What risk said of an entry that is not written, and all that it saw."""

    intent: Intent
    verdict: ApprovedIntent | RefusedIntent
    asked: OrderIntent
    snapshot: Snapshot
    limits: Limits
    policy_id: int


def assessed(
    *, portfolio: Portfolio, wish: Wish, standing: Standing, under_way: Outstanding, now: datetime
) -> Assessed:  # fmt: skip
    """All gates about a new entry, by what its caller has read; nothing is stored, and no room taken."""
    asked, snapshot = _seen(portfolio, wish, standing, under_way)
    limits, intent = limits_of(standing.policy), _drafted(uuid4(), portfolio, wish, now)
    verdict = assess(
        intent_id=intent.pk, intent=asked, snapshot=snapshot, limits=limits, kill_epoch=standing.kill.epoch
    )  # fmt: skip
    if isinstance(verdict, ApprovedIntent):
        verdict = _in_quarantine(under_way, verdict) or verdict
    return Assessed(intent, verdict, asked, snapshot, limits, standing.policy.pk)


def refusals_write(refused: Iterable[Assessed]) -> None:
    """Keep intents that risk refused, each with what every gate said. Inside `together`: one round trip for all."""
    for one in refused:
        assert isinstance(one.verdict, RefusedIntent)
        _refuse(one.intent, one.verdict)
        insert(one.intent)
        store_verdicts(
            portfolio_id=one.intent.portfolio_id, verdict=one.verdict, intent=one.asked, snapshot=one.snapshot,
            policy_id=one.policy_id, policy=one.limits.name,
        )  # fmt: skip


def _refuse(intent: Intent, verdict: RefusedIntent) -> None:
    intent.state = Intent.State.REFUSED
    intent.refusal_code, intent.refusal = verdict.code[:40], verdict.message[:240]


def _in_quarantine(under_way: Outstanding, approved: ApprovedIntent) -> RefusedIntent | None:
    """Nothing is entered where the broker holds something else than we think."""
    doubt = under_way.doubt
    if doubt is None:
        return None
    message = f"In quarantine: {doubt.both_sides}."
    finding = Finding("QUARANTINED", Outcome.REJECT, 0, str(doubt.theirs), str(doubt.ours), message)
    return RefusedIntent(approved.intent_id, "QUARANTINED", message, (*approved.findings, finding))


def _without_slot(room: Room | None, wish: Wish, approved: ApprovedIntent) -> RefusedIntent | None:
    """A first order takes a slot of the pool, whoever asks; a person may force one."""
    if room is None or wish.forced_by or room.free > 0:
        return None
    message = f"All {room.most} slots of the pool are taken."
    finding = Finding("POOL_FULL", Outcome.REJECT, 0, str(room.taken), str(room.most), message)
    return RefusedIntent(approved.intent_id, "POOL_FULL", message, (*approved.findings, finding))


def _look(
    portfolio: Portfolio, wish: Wish, *, now: datetime, standing: Standing | None = None
) -> Callable[[], tuple[OrderIntent, Snapshot, Outstanding, Standing]]:
    """The wish as gates see it, and all else that they may see: asked with the caller's questions, read later."""
    contract = wish.signal.deployment.version.contract_id if wish.signal and wish.signal.deployment else None
    if standing is None:
        asked = standing_asked(portfolio, wish.instrument, now=now, strategy=strategy_of(wish.signal))
    under_way = outstanding(portfolio, wish.instrument, wish.side, opens=wish.reason.opens, contract_id=contract)

    def look() -> tuple[OrderIntent, Snapshot, Outstanding, Standing]:
        stands = standing or asked()
        works = under_way()
        return *_seen(portfolio, wish, stands, works), works, stands

    return look


def _seen(
    portfolio: Portfolio, wish: Wish, standing: Standing, under_way: Outstanding
) -> tuple[OrderIntent, Snapshot]:  # fmt: skip
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
        symbol_risk_paise=_at_risk(wish.group) if opens and wish.adds and wish.group is not None else 0,
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


def _at_risk(group: Group) -> int:
    """What a trade loses at its stop, paise: what is held of it, and what still works for it; 0 where it only gains."""
    if group.stop_price is None:
        return 0
    quantity, value = 0, 0
    for order in group.orders.all():
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
    caps: dict[str, int]


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
    asked, snapshot, _, _ = _look(portfolio, wish, now=standing.now, standing=standing)()
    limits = limits_of(standing.policy)
    claims = claims_of(asked, snapshot, limits, standing.keys, account_equity_paise=standing.account_equity_paise)
    return Judged(run_gates(asked, snapshot, limits, gates), {claim.key: claim.cap for claim in claims})


def _reserve(
    portfolio: Portfolio, approved: ApprovedIntent, asked: OrderIntent, snapshot: Snapshot, limits: Limits,
    standing: Standing,
) -> ApprovedIntent | RefusedIntent:  # fmt: skip
    """Take the room that the gates saw; somebody else may have taken it since."""
    claims = claims_of(
        replace(asked, quantity=approved.quantity), snapshot, limits, standing.keys,
        account_equity_paise=standing.account_equity_paise,
    )  # fmt: skip
    try:
        reserve(portfolio_id=portfolio.pk, intent_id=approved.intent_id, claims=claims)
    except NotAllowed as full:
        lost = Finding(
            full.code, Outcome.REJECT, 0, str(full.numbers["wanted"]), str(full.numbers["cap"]), full.message
        )
        return RefusedIntent(approved.intent_id, full.code, full.message, (*approved.findings, lost))
    return approved


def instrument_for(user: User, portfolio: Portfolio, symbol: str) -> Instrument:
    """What a person names, for a portfolio of his; NotFound (UNKNOWN_PORTFOLIO, UNKNOWN_SYMBOL) else."""
    if portfolio.owner_id != user.pk:
        raise NotFound("UNKNOWN_PORTFOLIO", "There is no such portfolio.")
    instrument = LISTED.first({"symbol": symbol})
    if instrument is None:
        raise NotFound("UNKNOWN_SYMBOL", f"There is no instrument {symbol}.")
    return instrument


def order_ticket(
    *,
    user,
    portfolio: Portfolio,
    symbol: str,
    side: Side,
    quantity: int,
    order_type: OrderType,
    limit_price: Decimal | None,
    stop_price: Decimal | None,
    target_price: Decimal | None,
    product: Product,
    idempotency_key: str,
    source: str,
    now: datetime,
) -> Intent:
    """An entry asked for by hand or by program. It passes every gate that a signal passes.

    Raises NotFound (UNKNOWN_SYMBOL, or a portfolio that is not the user's) and NotAllowed for what cannot be an order.
    """
    instrument = instrument_for(user, portfolio, symbol)
    if not 1 <= quantity <= LARGEST_QUANTITY:
        raise NotAllowed("QUANTITY", f"A quantity lies between 1 and {LARGEST_QUANTITY}.")
    if order_type not in (OrderType.LIMIT, OrderType.MARKET):
        raise NotAllowed("ORDER_TYPE", "An entry is a limit or a market order; its stop is given beside it.")
    for price in (limit_price, stop_price, target_price):
        if price is not None and not (price.is_finite() and 0 < price < 10_000_000):
            raise NotAllowed("PRICE", "A price is a positive number of rupees.")
    if order_type is OrderType.LIMIT and limit_price is None:
        raise NotAllowed("PRICE", "A limit order needs its price.")
    if target_price is not None and target_price % instrument.tick_size:
        raise NotAllowed("TICK_SIZE", f"{target_price} is not on the tick of {instrument.tick_size}.")
    if order_type is OrderType.MARKET:
        limit_price = None
    wish = Wish(
        source=source,
        reason=Reason.ENTRY,
        dedupe_key=f"{source}:{hashlib.sha256(idempotency_key.encode()).hexdigest()[:40]}",
        actor=user.get_username(),
        instrument=instrument,
        side=side,
        quantity=quantity,
        order_type=order_type,
        product=product,
        limit_price=limit_price,
        stop_price=stop_price,
        target_price=target_price,
        # A person at the ticket has decided; a program has not.
        needs_approval=source == Intent.Source.API and portfolio.approval_mode == Portfolio.ApprovalMode.MANUAL,
    )
    return intent_create(portfolio=portfolio, wish=wish, now=now)


def withdraw_reservation(intent: Intent) -> None:
    """The intent came to nothing: give back everything, the day's count as well."""
    release(intent_id=intent.pk, keep_trades=False)


def last_price(portfolio: Portfolio, instrument: Instrument) -> Decimal | None:
    quote = last_quote(portfolio.account.feed, instrument.symbol)
    return quote.last_price if quote else None
