"""An approved intent becomes orders: one, or as many as the exchange's freeze quantity asks for.

Risk was asked once, for the whole. Its orders are its children: each has its number among them, and a name that follows
from it, so that no repeat makes another; together they never ask for more than the intent was allowed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache

from django.db import connection
from django.utils import timezone

from execution.identity import client_order_id
from execution.models import Intent, Order
from execution.services.events import told
from execution.services.order_hand import may_be_handed, order_hand
from execution.states import OrderState
from trading.domain.orders import Reason
from trading.marketdata.models import Instrument
from trading.outbox import after_commit
from trading.statements import as_json, ask, from_json, new_row, tell
from trading.venue.precision import slice_quantity

NUMBERS = "SELECT nextval('execution_order_id_seq') FROM generate_series(1, %(many)s::int)"
ENTRY_VALID_S = 30
EXIT_VALID_S = 300


@dataclass(frozen=True, slots=True)
class Allowed:
    """An intent that becomes orders, under which sum of kill epochs, and the price at which it was decided."""

    intent: Intent
    kill_epoch: int
    decision_price: Decimal | None

    @property
    def pieces(self) -> int:
        return len(sliced(self.intent.instrument, self.intent.allowed_quantity))


def order_queue(*, intent: Intent, kill_epoch: int, decision_price: Decimal | None) -> list[Order]:
    """Write all orders of an approved intent; the caller's transaction makes them real together."""
    allowed = Allowed(intent, kill_epoch, decision_price)
    orders = orders_of([allowed], numbers=[])
    orders_queue(orders)
    return orders


def numbers_asked(many: int) -> Callable[[], list[int]]:
    """Numbers for so many orders, asked with the caller's other questions and read later: nobody else has them."""
    rows = ask(NUMBERS, {"many": many})
    return lambda: [number for (number,) in rows()]


def orders_queue(orders: Sequence[Order], *, commits: bool = False) -> Callable[[], None]:
    """Write new orders in one statement with their first events, and ring for them once they have committed. `commits`:
    their transaction ends now, so that a claim may go with them. What comes back is to be called once they are written.
    """
    bells = [  # the engine first, then the pages
        after_commit("engine.order", account_id=order.account_id, order_id=order.pk, reason=order.reason)
        for order in orders
    ]
    handed: Callable[[], None] | None = None
    if commits and may_be_handed(orders):
        handed = order_hand(orders[0], bells[0])
    else:
        tell(_write(), {"orders": as_json(*orders)})
    for order in orders:
        order._state.adding, order._state.db = False, connection.alias
        told(order, "order.queued")
    return handed or (lambda: None)


def orders_of(allowed: Sequence[Allowed], *, numbers: Sequence[int]) -> list[Order]:
    """What approved intents become; of `numbers` there may be too few: then more are asked for."""
    short = sum(one.pieces for one in allowed) - len(numbers)
    left = iter([*numbers, *(numbers_asked(short)() if short > 0 else ())])
    return [order for one in allowed for order in _orders_of(one, left)]


def sliced(instrument: Instrument, quantity: int) -> tuple[int, ...]:
    """The quantities of the orders that a quantity becomes."""
    lot, freeze = instrument.lot_size, instrument.freeze_quantity
    if quantity % lot or (freeze is not None and freeze < lot):
        lot = 1  # only of an exit: a part of a lot that is held must be able to leave
    return slice_quantity(quantity, freeze, lot)


def _orders_of(allowed: Allowed, numbers: Iterator[int]) -> list[Order]:
    intent = allowed.intent
    instrument, account, wall = intent.instrument, intent.portfolio.account, timezone.now()
    return [
        new_row(
            Order,
            id=next(numbers),
            client_order_id=client_order_id(
                account_id=account.pk, intent_id=intent.pk, live=account.is_live, child=child
            ),
            intent=intent,
            child=child,
            group=intent.group,
            portfolio=intent.portfolio,
            account=account,
            instrument=instrument,
            side=intent.side,
            product=intent.product,
            order_type=intent.order_type,
            reason=intent.reason,
            quantity=piece,
            limit_price=intent.limit_price,
            trigger_price=intent.trigger_price,
            state=OrderState.QUEUED,
            valid_until=wall + timedelta(seconds=ENTRY_VALID_S if intent.reason == Reason.ENTRY else EXIT_VALID_S),
            kill_epoch=allowed.kill_epoch,
            decision_price=allowed.decision_price,
            placed_at=intent.venue_at,
            created_at=wall,
        )
        for child, piece in enumerate(sliced(instrument, intent.allowed_quantity))
    ]


@cache
def _write() -> str:
    """Orders and how each of their stories begins."""
    return f"""
    WITH queued AS ({from_json(Order, "orders")} RETURNING *)
    INSERT INTO execution_orderevent (order_id, seq, kind, source, from_state, to_state, applied, detail, at)
    SELECT id, 1, 'order.queued', 'RISK', state, state, true,
           jsonb_build_object('quantity', quantity::text, 'reason', reason), created_at
    FROM queued
    """  # noqa: S608 - our own names
