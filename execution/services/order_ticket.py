"""An entry asked for by hand or by program. Those of one account that come together are decided together."""

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from execution.models import Intent
from execution.services.intent_create import Ask, Decided, intents_create
from execution.services.intent_judge import Wish
from trading.domain.errors import NotAllowed, NotFound
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.gathering import Gathering
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio
from trading.statements import Select

LARGEST_QUANTITY = 10_000_000
MOST_TOGETHER = 32
LISTED = Select(Instrument, where="WHERE t.symbol = %(symbol)s AND t.active")


_together: Gathering[Ask, Decided] = Gathering(intents_create, most=MOST_TOGETHER)


def instrument_for(user: Any, portfolio: Portfolio, symbol: str) -> Instrument:
    """What a person names, for a portfolio of his; NotFound (UNKNOWN_PORTFOLIO, UNKNOWN_SYMBOL) else."""
    if portfolio.owner_id != user.pk:
        raise NotFound("UNKNOWN_PORTFOLIO", "There is no such portfolio.")
    instrument = LISTED.first({"symbol": symbol})
    if instrument is None:
        raise NotFound("UNKNOWN_SYMBOL", f"There is no instrument {symbol}.")
    return instrument


def order_ticket(*, user: Any, portfolio: Portfolio, idempotency_key: str, source: str, **wanted: Any) -> Intent:
    """The intent of an entry, see `ticket_decide`."""
    return ticket_decide(
        user=user, portfolio=portfolio, idempotency_key=idempotency_key, source=source, **wanted
    ).intent


def ticket_decide(
    *,
    user: Any,
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
) -> Decided:
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
    ask = Ask(portfolio, wish, now)
    if connection.in_atomic_block:  # its rows belong to the caller's transaction
        (decided,) = intents_create([ask])
        if isinstance(decided, Exception):
            raise decided
        return decided
    return _together(portfolio.account_id, ask)
