"""An entry asked for by hand or by program. Those of one account that come together are decided together."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from prometheus_client import Histogram

from execution.models import Intent
from execution.services.intent_create import Ask, Decided, Door, intents_create
from execution.services.intent_judge import Wish
from trading.domain.errors import NotAllowed, NotFound
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.gathering import Gathering
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio
from trading.statements import Select, in_a_transaction, together

LARGEST_QUANTITY = 10_000_000
MOST_TOGETHER = 32
TOGETHER = Histogram(
    "tarazu_orders_decided_together", "Orders of one account in one transaction", buckets=(1, 2, 4, 8, 16, 32)
)
LISTED = Select(Instrument, where="WHERE t.symbol = ANY(%(symbols)s) AND t.active")
MINE = Select(Portfolio, "account", where="""
JOIN unnest(%(owners)s::bigint[], %(portfolios)s::bigint[]) AS w (owner, portfolio)
  ON t.owner_id = w.owner AND (w.portfolio IS NULL OR t.id = w.portfolio)
ORDER BY t.id
""")  # fmt: skip
Named = tuple[int, int | None, str]
"""Whose: the user; which portfolio, None for the only one; which symbol."""


def _found(named: Sequence[Named]) -> list[tuple[list[Portfolio], Instrument | None]]:
    with together():
        mine = MINE.ask({"owners": [one[0] for one in named], "portfolios": [one[1] for one in named]})
        listed = LISTED.ask({"symbols": [one[2] for one in named]})
    portfolios, instruments = mine(), {one.symbol: one for one in listed()}
    return [
        (
            list({one.pk: one for one in portfolios if one.owner_id == owner and which in (None, one.pk)}.values()),
            instruments.get(symbol),
        )
        for owner, which, symbol in named
    ]


what_is_named: Gathering[Named, tuple[list[Portfolio], Instrument | None]] = Gathering(
    _found, most=MOST_TOGETHER, alone=in_a_transaction
)
"""The portfolios and the instrument that a program names; many who ask at once are one round trip."""


def tickets_decide(asks: Sequence[Ask], door: Door | None = None) -> list[Decided | Exception]:
    """What becomes of several of one account, see `intents_create`."""
    TOGETHER.observe(len(asks))
    return intents_create(asks, door)


_together: Gathering[Ask, Decided] = Gathering(tickets_decide, most=MOST_TOGETHER, alone=in_a_transaction)


def instrument_for(user: Any, portfolio: Portfolio, symbol: str) -> Instrument:
    """What a person names, for a portfolio of his; NotFound (UNKNOWN_PORTFOLIO, UNKNOWN_SYMBOL) else."""
    if portfolio.owner_id != user.pk:
        raise NotFound("UNKNOWN_PORTFOLIO", "There is no such portfolio.")
    instrument = LISTED.first({"symbols": [symbol]})
    if instrument is None:
        raise NotFound("UNKNOWN_SYMBOL", f"There is no instrument {symbol}.")
    return instrument


def order_ticket(*, user: Any, portfolio: Portfolio, symbol: str, **wanted: Any) -> Intent:
    """The intent of an entry, see `ticket_decide`. NotFound for an unknown symbol, or a portfolio that is not the
    user's."""
    instrument = instrument_for(user, portfolio, symbol)
    return ticket_decide(user=user, portfolio=portfolio, instrument=instrument, **wanted).intent


def ticket_decide(*, portfolio: Portfolio, **wanted: Any) -> Decided:
    """What becomes of an entry asked for by hand or by program, see `ticket_ask`."""
    return _together(portfolio.account_id, ticket_ask(portfolio=portfolio, **wanted))


def ticket_ask(
    *,
    user: Any,
    portfolio: Portfolio,
    instrument: Instrument,
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
) -> Ask:
    """An entry asked for by hand or by program. It passes every gate that a signal passes.

    `portfolio` is one of the user's. Raises NotAllowed for what cannot be an order.
    """
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
    return Ask(portfolio, wish, now)
