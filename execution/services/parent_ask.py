"""A large entry is asked for: judged as a whole, written down, and its first child let out, in one transaction."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from execution.models import Intent, ParentOrder
from execution.services.intent_judge import Wish, judge
from execution.services.order_ticket import LARGEST_QUANTITY, instrument_for
from execution.services.parent_advance import release
from risk.gates import PARENT_GATES
from risk.gates.finding import Outcome
from risk.policies import active_policy
from strategies.models import Signal
from trading.audit.record import record
from trading.domain.errors import Conflict, NotAllowed
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.sessions import session_at
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish
from trading.venue.sessions import square_off_at

Style, State = ParentOrder.Style, ParentOrder.State
BEFORE_THE_END = timedelta(minutes=1)
"""Of market time, between the last child and our own square-off, or the end of continuous trading."""
SHORTEST = timedelta(minutes=1)
MOST_MINUTES = 375
MOST_SLICES = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants worked. Prices in rupees on the tick, quantities in units; `limit_price` is the furthest
    that any child may go. `minutes` and `slices` are of a TWAP, `visible` of an iceberg."""

    source: str
    dedupe_key: str
    actor: str
    instrument: Instrument
    side: Side
    product: Product
    style: str
    quantity: int
    limit_price: Decimal
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    minutes: int = 0
    slices: int = 0
    visible: int = 0
    signal: Signal | None = None
    signal_age_s: float | None = None
    needs_approval: bool = False
    forced_by: str = ""


def parent_ask(*, portfolio: Portfolio, ask: Ask, now: datetime) -> ParentOrder:
    """The parent order of an ask, with its first child; refused, with its reason, where risk says no to either.

    A repeat finds the first; the same key for something else is a Conflict. NotAllowed for what cannot be worked.
    """
    known = ParentOrder.objects.filter(portfolio=portfolio, dedupe_key=ask.dedupe_key).first()
    if known is not None:
        return _same(known, ask)
    _refuse_what_cannot_be(ask)
    try:
        return _write(portfolio, ask, now)
    except IntegrityError:
        known = ParentOrder.objects.filter(portfolio=portfolio, dedupe_key=ask.dedupe_key).first()
        if known is None:
            raise Conflict("ALREADY_POSITIONED", f"Another order for {ask.instrument} was faster.") from None
        return _same(known, ask)


def large_order_ticket(
    *, user: User, portfolio: Portfolio, symbol: str, side: Side, quantity: int, limit_price: Decimal | None,
    stop_price: Decimal | None, target_price: Decimal | None, product: Product, style: str, minutes: int, slices: int,
    visible: int, idempotency_key: str, source: str, now: datetime,
) -> ParentOrder:  # fmt: skip
    """A large entry asked for by hand or by program.

    Raises NotFound (UNKNOWN_SYMBOL, or a portfolio that is not the user's) and NotAllowed for what cannot be worked.
    """
    instrument = instrument_for(user, portfolio, symbol)
    if limit_price is None:
        raise NotAllowed("PRICE", "A large order needs a limit that no part of it may pass.")
    for price in (stop_price, target_price):
        if price is not None and not (
            price.is_finite() and 0 < price < 10_000_000 and not price % instrument.tick_size
        ):
            raise NotAllowed("PRICE", f"A price is a positive number of rupees on the tick of {instrument.tick_size}.")
    return parent_ask(
        portfolio=portfolio, now=now,
        ask=Ask(
            source=source, dedupe_key=f"{source}:{hashlib.sha256(idempotency_key.encode()).hexdigest()[:40]}",
            actor=user.get_username(), instrument=instrument, side=side, product=product, style=style,
            quantity=quantity, limit_price=limit_price, stop_price=stop_price, target_price=target_price,
            minutes=minutes, slices=slices, visible=visible,
            needs_approval=source == Intent.Source.API and portfolio.approval_mode == Portfolio.ApprovalMode.MANUAL,
        ),
    )  # fmt: skip


def _same(known: ParentOrder, ask: Ask) -> ParentOrder:
    told = (ask.instrument.pk, ask.side, ask.product, ask.style, ask.quantity, ask.limit_price, ask.stop_price)
    kept = (
        known.instrument_id, known.side, known.product, known.style, known.wanted_quantity, known.limit_price,
        known.stop_price,
    )  # fmt: skip
    if told != kept:
        raise Conflict("IDEMPOTENCY_KEY_REUSED", "This key was used for another order.")
    return known


def _refuse_what_cannot_be(ask: Ask) -> None:
    lot, tick = ask.instrument.lot_size, ask.instrument.tick_size
    if not 1 <= ask.quantity <= LARGEST_QUANTITY or ask.quantity % lot:
        raise NotAllowed("QUANTITY", f"A quantity lies between 1 and {LARGEST_QUANTITY}, in lots of {lot}.")
    if not (ask.limit_price.is_finite() and 0 < ask.limit_price < 10_000_000) or ask.limit_price % tick:
        raise NotAllowed("PRICE", f"A large order needs a limit that no part of it may pass, on the tick of {tick}.")
    if ask.style == Style.TWAP:
        if not 1 <= ask.minutes <= MOST_MINUTES:
            raise NotAllowed("MINUTES", f"It is spread over 1 to {MOST_MINUTES} minutes.")
        if not 2 <= ask.slices <= MOST_SLICES or ask.slices * lot > ask.quantity:
            raise NotAllowed("SLICES", f"It has 2 to {MOST_SLICES} parts, none below a lot of {lot}.")
    elif ask.style == Style.ICEBERG:
        if not lot <= ask.visible < ask.quantity or ask.visible % lot:
            raise NotAllowed("VISIBLE", f"An iceberg shows less than the whole, in lots of {lot}.")
    else:
        raise NotAllowed("STYLE", f"{ask.style} is no way to work an order.")


@transaction.atomic
def _write(portfolio: Portfolio, ask: Ask, now: datetime) -> ParentOrder:
    latest = _latest(portfolio, ask, now)
    ends_at = min(latest, now + timedelta(minutes=ask.minutes)) if ask.style == Style.TWAP else latest
    wish = Wish(
        source=ask.source, reason=Reason.ENTRY, dedupe_key=ask.dedupe_key, actor=ask.actor, instrument=ask.instrument,
        side=ask.side, quantity=ask.quantity, order_type=OrderType.LIMIT, product=ask.product,
        limit_price=ask.limit_price, stop_price=ask.stop_price, target_price=ask.target_price, signal=ask.signal,
        signal_age_s=ask.signal_age_s,
    )  # fmt: skip
    parent = ParentOrder(
        portfolio=portfolio, signal=ask.signal, source=ask.source, dedupe_key=ask.dedupe_key, actor=ask.actor[:150],
        instrument=ask.instrument, product=ask.product, side=ask.side, style=ask.style, wanted_quantity=ask.quantity,
        quantity=0, limit_price=ask.limit_price, stop_price=ask.stop_price, target_price=ask.target_price,
        slices=ask.slices if ask.style == Style.TWAP else 0, starts_at=now, ends_at=ends_at,
        visible_quantity=ask.visible if ask.style == Style.ICEBERG else 0, created_at=timezone.now(),
    )  # fmt: skip
    last = judge(portfolio=portfolio, wish=wish, gates=PARENT_GATES, now=now).findings[-1]
    if last.outcome is Outcome.REJECT:
        return _refused(parent, last.gate, last.message)
    parent.quantity = last.quantity
    if parent.style == Style.ICEBERG and ask.signal is not None:  # a share of it was meant, and it may be less now
        lot = ask.instrument.lot_size
        parent.visible_quantity = max(lot, parent.quantity * ask.visible // ask.quantity // lot * lot)
    parent.save()
    first = replace(wish, parent=parent, needs_approval=ask.needs_approval, forced_by=ask.forced_by)
    intent = release(parent, first, left=parent.quantity, now=now)
    if intent is None:
        return _refused(parent, "QUOTE_AGE", parent.waits)
    if intent.state == Intent.State.REFUSED:
        return _refused(parent, intent.refusal_code, intent.refusal)
    parent.group = intent.group
    parent.save()
    record(
        "parent_order.asked", actor=ask.actor, owner_id=portfolio.owner_id, subject=str(parent)[:120],
        wanted=ask.quantity, allowed=parent.quantity, ends_at=ends_at.isoformat(),
    )  # fmt: skip
    publish(portfolio.owner_id, "order", parent=parent.pk)
    return parent


def _latest(portfolio: Portfolio, ask: Ask, now: datetime) -> datetime:
    """When the last of it must be over: before our own square-off, or the end of continuous trading."""
    feed = Feed.objects.get(name=portfolio.account.feed)
    session = session_at(feed, ask.instrument, now)
    if session is None:
        raise NotAllowed("MARKET_HOURS", "There is no session to work it in.")
    minutes = active_policy(portfolio.pk).square_off_before_close_min if ask.product == Product.INTRADAY else 0
    latest = square_off_at(session, minutes) - BEFORE_THE_END
    if latest - now < SHORTEST:
        raise NotAllowed("TOO_LATE", "Too little of the session is left to work it: it must be over before the end.")
    return latest


def _refused(parent: ParentOrder, code: str, said: str) -> ParentOrder:
    parent.state, parent.code, parent.said = State.REFUSED, code[:40], said[:240]
    parent.ended_at = timezone.now()
    parent.save()
    return parent
