"""An approved intent becomes orders: one, or as many as the exchange's freeze quantity asks for.

Risk was asked once, for the whole. Its orders are its children: each has its number among them, and a name that follows
from it, so that no repeat makes another; together they never ask for more than the intent was allowed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache

from django.db import connection
from django.utils import timezone

from execution.identity import client_order_id
from execution.models import Intent, Order
from execution.services.events import told
from execution.states import OrderState
from trading.domain.orders import Reason
from trading.outbox import after_commit
from trading.statements import as_json, ask, from_json
from trading.venue.precision import slice_quantity

ENTRY_VALID_S = 30
EXIT_VALID_S = 300


@dataclass(frozen=True, slots=True)
class Allowed:
    """An intent that becomes orders, under which sum of kill epochs, and the price at which it was decided."""

    intent: Intent
    kill_epoch: int
    decision_price: Decimal | None


def order_queue(*, intent: Intent, kill_epoch: int, decision_price: Decimal | None) -> list[Order]:
    """Write all orders of an approved intent; the caller's transaction makes them real together."""
    return orders_queue([Allowed(intent, kill_epoch, decision_price)])()


def orders_queue(allowed: Sequence[Allowed]) -> Callable[[], list[Order]]:
    """The same for several intents: in one statement with their first events. Its orders are numbered once read."""
    orders = [order for one in allowed for order in _orders_of(one)]
    rows = ask(_write(), {"orders": as_json(*orders)})

    def numbered() -> list[Order]:
        numbers: dict[str, int] = dict(rows())
        for order in orders:
            order.pk = numbers[order.client_order_id]
            order._state.adding, order._state.db = False, connection.alias
        for order in orders:  # the engine first, then the pages
            after_commit("engine.order", account_id=order.account_id, order_id=order.pk, queued=True)
        for order in orders:
            told(order, "order.queued")
        return orders

    return numbered


def _orders_of(allowed: Allowed) -> list[Order]:
    intent, quantity = allowed.intent, allowed.intent.allowed_quantity
    instrument, account, wall = intent.instrument, intent.portfolio.account, timezone.now()
    lot, freeze = instrument.lot_size, instrument.spec.freeze_quantity
    if quantity % lot or (freeze is not None and freeze < lot):
        lot = 1  # only of an exit: a part of a lot that is held must be able to leave
    return [
        Order(
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
        for child, piece in enumerate(slice_quantity(quantity, freeze, lot))
    ]


@cache
def _write() -> str:
    """Orders and how each of their stories begins."""
    return f"""
    WITH queued AS ({from_json(Order, "orders", numbered=True)} RETURNING *), told AS (
        INSERT INTO execution_orderevent (order_id, seq, kind, source, from_state, to_state, applied, detail, at)
        SELECT id, 1, 'order.queued', 'RISK', state, state, true,
               jsonb_build_object('quantity', quantity::text, 'reason', reason), created_at
        FROM queued
    )
    SELECT client_order_id, id FROM queued
    """  # noqa: S608 - our own names
