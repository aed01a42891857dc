"""An order that is given to its engine together with its claim: one commit and one bell from the decision to the wire.

An entry of its own, decided in a transaction that ends with it, is written as claimed for the engine that holds the
account and stands at its door here, where nothing speaks against it: the statement that makes its row asks what a claim
asks, and takes its place in the rate. The bell brings the claim with all that the broker is to be told.

Only the engine that the claim names ever sends it, so it alone knows whether it has. A claim whose bell was lost or
came late it finds in the row, and takes up itself (`engine/handed.py`); another engine looks for the order in the
broker's book, as for any that was being sent. Where anything is not as usual the row is queued, and claimed as ever.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from secrets import randbits
from typing import Any
from uuid import UUID

from accounts.selectors import needs_login
from execution.brokers.port import CallClass
from execution.kill_scopes import keys_of
from execution.models import Order
from execution.services.order_claim import LEASE_S, Claimed, class_of
from risk.order_rate import in_turn, taking_turns
from trading.domain.clock import running_s
from trading.domain.orders import OrderRequest, OrderType, Product, Reason, Side
from trading.outbox import Id, is_heard_nearby
from trading.statements import as_json, ask, from_json
from trading.trips import Texts

HANDED_WITHIN_S = 0.25
"""A bell that comes later brings nothing: kill switch, pause and lease are asked again before the order leaves."""


@dataclass(frozen=True, slots=True)
class Handed:
    """A claim that came with a bell, for the engine whose lease has the token `fence`; and who hears of it."""

    claimed: Claimed
    fence: int
    owner_id: int
    group_id: str

    @classmethod
    def read(cls, ids: Mapping[str, Any]) -> "Handed":
        """As `order_hand` has written it."""
        limit, trigger = (None if one is None else Decimal(one) for one in (ids["limit"], ids["trigger"]))
        request = OrderRequest(
            client_order_id=ids["tag"], symbol=ids["symbol"], side=Side(ids["side"]), quantity=ids["quantity"],
            order_type=OrderType(ids["order_type"]), product=Product(ids["product"]), limit_price=limit,
            trigger_price=trigger,
        )  # fmt: skip
        claimed = Claimed(
            ids["order_id"], UUID(ids["claim"]), request, class_of(ids["reason"]), ids["asked_ns"] / 1_000_000_000
        )  # fmt: skip
        return cls(claimed, ids["fence"], ids["owner"], ids["group"])

    @property
    def is_late(self) -> bool:
        return is_late(self.claimed)


def is_late(claimed: Claimed) -> bool:
    """Or was asked for by the clock of another machine, which says nothing here: it may seem yet to come."""
    return not 0 <= running_s() - claimed.claimed_at <= HANDED_WITHIN_S


def may_be_handed(orders: Sequence[Order]) -> bool:
    """One entry, and somebody here to hand it to. Several are claimed together, and take turns."""
    return len(orders) == 1 and orders[0].reason == Reason.ENTRY and is_heard_nearby(orders[0].account_id)


def order_hand(order: Order, bell: dict[str, Id]) -> Callable[[], None]:
    """Write an order, claimed if it may leave at once; the last of its transaction that is waited for by others. What
    comes back is to be called when it has been told, and before it commits: it gives the claim to the bell."""
    asked_ns = round(running_s() * 1_000_000_000)
    rows = ask(_write(), {
        **in_turn(order.account_id, CallClass.ORDER, 1), "orders": as_json(order), "lease": LEASE_S,
        "epoch": order.kill_epoch, "unlike": f"{randbits(48):022x}",
        "scopes": Texts(keys_of(order.portfolio, order.instrument_id, order.group.signal)),
    })  # fmt: skip

    def told() -> None:
        for token, fence in rows():
            bell.update({
                "claim": str(token), "fence": fence, "asked_ns": asked_ns, "tag": order.client_order_id,
                "symbol": order.instrument.symbol, "side": str(order.side), "quantity": order.quantity,
                "order_type": str(order.order_type), "product": str(order.product), "limit": _said(order.limit_price),
                "trigger": _said(order.trigger_price), "owner": order.portfolio.owner_id, "group": str(order.group_id),
            })  # fmt: skip

    return told


def _said(price: Decimal | None) -> str | None:
    return None if price is None else str(price)


@cache
def _write() -> str:
    """The row and how its story begins; the claim's token and the fence, where it was claimed. Nobody is waited for:
    where somebody is taking his place in the rate, or the rate has none, it is queued. A claim of this kind has no
    number among those of its engine, so that any of those is greater."""
    may_leave = f"""NOT {needs_login("%(account)s")}
      AND EXISTS (SELECT 1 FROM execution_enginelease e WHERE e.account_id = %(account)s AND e.state = 'RUNNING'
                  AND e.paused_by = '' AND e.expires_at > clock_timestamp())
      AND (SELECT coalesce(max(t.level), 0) = 0 AND coalesce(sum(t.epoch), 0) = %(epoch)s
           FROM risk_tradingstate t WHERE t.scope = ANY(%(scopes)b::text[]))"""  # noqa: S608 - made of constants
    but = {
        "state": "CASE WHEN hand.fence IS NULL THEN r.state ELSE 'SENDING' END", "claim_token": "hand.token",
        "sent_at": "hand.at", "lease_expires_at": "hand.at + %(lease)s * interval '1s'",
    }  # fmt: skip
    return f"""
    WITH {taking_turns(also=may_leave)}, hand AS MATERIALIZED (
        SELECT e.token AS fence, (lpad(to_hex(e.token), 10, '0') || %(unlike)s)::uuid AS token, clock_timestamp() AS at
        FROM execution_enginelease e WHERE e.account_id = %(account)s AND EXISTS (SELECT 1 FROM turn)
    ), written AS ({from_json(Order, "orders", but=but, beside="LEFT JOIN hand ON true")} RETURNING *), said AS (
        INSERT INTO execution_orderevent (order_id, seq, kind, source, from_state, to_state, applied, detail, at)
        SELECT id, 1, 'order.queued', 'RISK', 'QUEUED', 'QUEUED', true,
               jsonb_build_object('quantity', quantity::text, 'reason', reason), created_at
        FROM written
        UNION ALL
        SELECT id, 2, 'order.claimed', 'ENGINE', 'QUEUED', 'SENDING', true, '{{}}', sent_at
        FROM written WHERE state = 'SENDING'
    )
    SELECT token, fence FROM hand
    """  # noqa: S608 - our own names
