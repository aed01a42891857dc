"""Send an order, once.

The row says SENDING before the first byte leaves, in a transaction of its own. What comes back is one of three things:
acknowledged, refused, unknown. Unknown is looked up in the broker's book by its tag; it is never sent again.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.utils import timezone

from execution.brokers.port import Acknowledged, BrokerGateway, CallClass, Refused, SendResult, Unknown
from execution.kill_scopes import keys_of
from execution.models import EngineLease, Group, Order
from execution.services.events import note
from execution.services.fill_apply import drain_parked
from execution.services.group_reopen import group_reopen
from execution.states import ORDER_MOVES, OrderState, PendingOp
from risk.kill_switch import kill_state
from risk.order_rate import take_turn
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import OrderRequest, OrderType, Product, Reason, Side
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit
from trading.realtime.publish import publish, publish_aside
from trading.statements import run

LEASE_S = 15
_PACED = {CallClass.ORDER: CallClass.PACED, CallClass.EXIT: CallClass.PACED_EXIT}
FIRST_PROBE_S = 1

# One statement decides: still queued, still in time, this engine still holds the account and may enter, and no kill
# switch since.
CLAIM = """
WITH claimed AS (
    UPDATE execution_order AS o
    SET state = 'SENDING', claim_token = %(token)s, sent_at = clock_timestamp(),
        lease_expires_at = clock_timestamp() + %(lease)s * interval '1 second'
    WHERE o.id = %(order)s AND o.state = 'QUEUED' AND o.pending_op = 'NONE' AND o.valid_until > clock_timestamp()
      AND EXISTS (SELECT 1 FROM execution_enginelease e WHERE e.account_id = o.account_id AND e.token = %(fence)s
                  AND e.expires_at > clock_timestamp() AND (o.reason <> 'ENTRY' OR e.paused_by = ''))
      AND (SELECT CASE WHEN o.reason = 'ENTRY'
                       THEN coalesce(max(t.level), 0) = 0 AND coalesce(sum(t.epoch), 0) = o.kill_epoch
                       ELSE coalesce(max(t.level), 0) < 5 END
           FROM risk_tradingstate t WHERE t.scope = ANY((
               SELECT ARRAY['GLOBAL', 'USER:' || p.owner_id, 'ACCOUNT:' || o.account_id, 'PORTFOLIO:' || o.portfolio_id,
                            'SYMBOL:' || o.instrument_id, 'SYMBOL:' || o.instrument_id || ':' || p.owner_id,
                            'STRATEGY:' || v.contract_id, 'STRATEGY:' || v.contract_id || ':' || p.owner_id]
               FROM execution_group g JOIN portfolio_portfolio p ON p.id = g.portfolio_id
               LEFT JOIN strategies_signal s ON s.id = g.signal_id
               LEFT JOIN strategies_deployment d ON d.id = s.deployment_id
               LEFT JOIN strategies_contractversion v ON v.id = d.version_id
               WHERE g.id = o.group_id)::text[]))
    RETURNING o.*
), told AS (
    INSERT INTO execution_orderevent (order_id, seq, kind, source, from_state, to_state, applied, detail, at)
    SELECT claimed.id, coalesce((SELECT max(e.seq) FROM execution_orderevent e WHERE e.order_id = claimed.id), 0) + 1,
           'order.claimed', 'ENGINE', 'QUEUED', 'SENDING', true, '{}', clock_timestamp()
    FROM claimed
)
SELECT c.client_order_id, i.symbol, c.side, c.quantity, c.order_type, c.product, c.limit_price, c.trigger_price,
       c.reason, c.group_id, p.owner_id
FROM claimed c
JOIN marketdata_instrument i ON i.id = c.instrument_id
JOIN portfolio_portfolio p ON p.id = c.portfolio_id
"""

# An order that was being sent is at the broker, under a number that is nobody else's, and no fill waits for it. The
# trade is locked before the order; whoever changed either meanwhile makes this find nothing. An entry is what its
# trade begins with: from now on it is at the broker.
ACKNOWLEDGE = """
WITH trade AS MATERIALIZED (
    SELECT id, state, ladder_id, close_reason FROM execution_group
    WHERE id = (SELECT group_id FROM execution_order WHERE id = %(order)s) FOR UPDATE
), acked AS (
    UPDATE execution_order AS o
    SET state = 'ACKED', lease_expires_at = NULL, unknown_since = NULL, broker_order_id = %(number)s,
        broker_message = %(message)s, acked_at = coalesce(o.acked_at, clock_timestamp()),
        arrival_price = coalesce(o.arrival_price, %(arrival)s::numeric)
    FROM trade
    WHERE o.id = %(order)s AND o.group_id = trade.id AND trade.state <> 'CLOSED' AND o.claim_token = %(token)s
      AND o.state = 'SENDING' AND o.broker_order_id IS NULL
      AND NOT EXISTS (SELECT 1 FROM execution_order x
                      WHERE x.account_id = o.account_id AND x.broker_order_id = %(number)s)
      AND NOT EXISTS (SELECT 1 FROM execution_parkedfill p WHERE p.account_id = o.account_id
                      AND p.broker_order_id = %(number)s AND p.drained_at IS NULL)
    RETURNING o.id, o.account_id, o.portfolio_id, o.group_id, o.reason, o.pending_op
), told AS (
    INSERT INTO execution_orderevent (order_id, seq, kind, source, from_state, to_state, applied, detail, at)
    SELECT acked.id, coalesce((SELECT max(e.seq) FROM execution_orderevent e WHERE e.order_id = acked.id), 0) + 1,
           'order.acknowledged', 'ENGINE', 'SENDING', 'ACKED', true, %(detail)s::jsonb, clock_timestamp()
    FROM acked
), began AS (
    UPDATE execution_group AS g SET state = 'LIVE' FROM acked
    WHERE g.id = acked.group_id AND g.state = 'WAITING' AND acked.reason = 'ENTRY'
    RETURNING g.id
)
SELECT acked.account_id, acked.group_id, p.owner_id,
       acked.reason = 'ENTRY' AND acked.pending_op = 'NONE' AND trade.ladder_id IS NULL AND trade.close_reason = '',
       EXISTS (SELECT 1 FROM began)
FROM acked JOIN trade ON trade.id = acked.group_id JOIN portfolio_portfolio p ON p.id = acked.portfolio_id
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is to be sent."""

    request: OrderRequest
    klass: CallClass


def order_submit(
    *, order_id: int, gateway: BrokerGateway, fence: int, paced: bool = False,
    price_of: Callable[[str], Decimal | None] = lambda symbol: None,
) -> None:  # fmt: skip
    """Claim a queued order and give it to the broker; `fence` is the token of this engine's lease.

    Does nothing to an order that is not queued any more. An order that may not be sent is withdrawn with its cause.
    `paced`: its turn in the account's order rate is waited for here, and not asked again by the gateway. The claim
    comes after the wait and nothing comes between it and the wire: a kill switch, a pause or a lost lease still stops
    an order whose turn has not come. `price_of` tells where the market is, by symbol, when the order leaves.
    """
    token = uuid4()
    if paced and not _await_turn(order_id):
        return
    crashpoint("dispatch.before_claim")
    claimed = _claim(order_id, token, fence)
    if claimed is None:
        _withdraw_if_void(order_id, fence)
        return
    crashpoint("dispatch.claimed")
    arrival = price_of(claimed.request.symbol)
    result = gateway.place(claimed.request, klass=_PACED[claimed.klass] if paced else claimed.klass)
    crashpoint("dispatch.answered")
    record_send(order_id=order_id, token=token, result=result, arrival_price=arrival)
    crashpoint("dispatch.recorded")


def _await_turn(order_id: int) -> bool:
    """Take a place in the account's order rate and sleep until it comes. What is not queued takes none: False."""
    found = run("SELECT account_id, reason FROM execution_order WHERE id = %s AND state = 'QUEUED'", [order_id])
    if not found:
        return False
    account_id, reason = found[0]
    wait_s = take_turn(account_id, _class_of(reason))
    if wait_s:
        time.sleep(wait_s)
    return True


def _class_of(reason: str) -> CallClass:
    return CallClass.ORDER if reason == Reason.ENTRY else CallClass.EXIT


def _claim(order_id: int, token: UUID, fence: int) -> Claimed | None:
    with transaction.atomic(durable=True):
        rows = run(CLAIM, {"order": order_id, "token": token, "lease": LEASE_S, "fence": fence})
        if not rows:
            return None
        row = rows[0]
        crashpoint("dispatch.claiming")
        tag, symbol, side, quantity, order_type, product, limit, trigger, reason, group_id, owner_id = row
    # The pages hear of it while the broker is being asked: they are not waited for.
    publish_aside(
        owner_id, "order", order=order_id, group=str(group_id), state=OrderState.SENDING, event="order.claimed"
    )  # fmt: skip
    request = OrderRequest(
        client_order_id=tag, symbol=symbol, side=Side(side), quantity=quantity, order_type=OrderType(order_type),
        product=Product(product), limit_price=limit, trigger_price=trigger,
    )  # fmt: skip
    return Claimed(request, _class_of(reason))


@transaction.atomic
def _withdraw_if_void(order_id: int, fence: int) -> None:
    """A queued order that failed the claim for good: too late, killed, or cancelled before it left."""
    order = Order.objects.lock(order_id)
    if order.state != OrderState.QUEUED:
        return
    if order.pending_op != PendingOp.NONE:
        cause = "cancelled before it was sent"
    elif order.valid_until <= timezone.now():
        cause = "not sent in time"
    elif _is_void(order):
        cause = "the kill switch was pulled"
    elif order.reason == Reason.ENTRY and EngineLease.objects.filter(
        account_id=order.account_id, token=fence
    ).exclude(paused_by="").exists():  # fmt: skip
        cause = "the engine was paused"
    else:
        return  # this engine has lost its lease: the next holder sends it
    note(order, "order.withdrawn", source="ENGINE", to_state=OrderState.WITHDRAWN, cause=cause)
    order.broker_message = cause
    order.pending_op = PendingOp.NONE
    order.save()
    after_commit("engine.group", account_id=order.account_id, group_id=str(order.group_id))


def _is_void(order: Order) -> bool:
    state = kill_state(keys_of(order.portfolio, order.instrument_id, order.group.signal))
    if order.reason == Reason.ENTRY:
        return state.level > 0 or state.epoch != order.kill_epoch
    return state.level >= 5


def record_send(
    *, order_id: int, token: UUID, result: SendResult, arrival_price: Decimal | None = None
) -> None:  # fmt: skip
    """Write down what the broker said. A late reply is evidence too, as long as it answers this claim."""
    if isinstance(result, Acknowledged):
        # Who waited for the lock of the trade may number its event as somebody else has just done: then the long way.
        with suppress(IntegrityError):
            with _recording():
                known = _acknowledged(order_id, token, result, arrival_price)
            if known:
                return
    with _recording():
        _record(order_id, token, result, arrival_price)


@contextmanager
def _recording() -> Iterator[None]:
    with transaction.atomic():
        yield
        crashpoint("dispatch.recording")


def _acknowledged(order_id: int, token: UUID, result: Acknowledged, arrival_price: Decimal | None) -> bool:
    """The usual end in one statement; False, and nothing written, where anything about it is unusual."""
    rows = run(ACKNOWLEDGE, {
        "order": order_id, "token": token, "number": result.broker_order_id, "message": (result.message or "")[:240],
        "detail": json.dumps({"broker_id": result.broker_order_id}), "arrival": arrival_price,
    })  # fmt: skip
    if not rows:
        return False
    ((account_id, group_id, owner_id, rests, began),) = rows
    publish(
        owner_id, "order", order=order_id, group=str(group_id), state=OrderState.ACKED, event="order.acknowledged"
    )  # fmt: skip
    if began:
        publish(owner_id, "position", group=str(group_id), state=Group.State.LIVE)
    if not rests:  # else nothing follows before the exchange says more
        after_commit("engine.group", account_id=account_id, group_id=str(group_id))
    return True


def _record(order_id: int, token: UUID, result: SendResult, arrival_price: Decimal | None) -> None:
    order = Order.objects.lock(order_id)
    if order.claim_token != token:
        note(order, "reply.stray", source="ENGINE", applied=False, result=type(result).__name__)
        return
    order.lease_expires_at = None
    order.arrival_price = order.arrival_price or arrival_price
    match result:
        case Acknowledged(broker_order_id=broker_id) if _belongs_to_another(order, broker_id):
            mark_unknown(order, f"the broker answered with the number of another order, {broker_id}")
        case Acknowledged(broker_order_id=broker_id, message=message):
            bind(order, broker_id)
            order.broker_message = message[:240]
            order.acked_at = order.acked_at or timezone.now()
            # The stream may have been faster than the reply: then there is nothing to add to the state.
            if order.state in (OrderState.SENDING, OrderState.UNKNOWN, OrderState.NOT_PLACED):
                note(order, "order.acknowledged", source="ENGINE", to_state=OrderState.ACKED, broker_id=broker_id)
                order.unknown_since = None
                group_reopen(order)
            drain_parked(order)
        case Refused(code=code, message=message, broker_order_id=broker_id):
            if broker_id:
                bind(order, broker_id)
            order.broker_message = f"{code}: {message}"[:240]
            if order.state in (OrderState.SENDING, OrderState.UNKNOWN) and order.filled_quantity == 0:
                note(order, "order.refused", source="ENGINE", to_state=OrderState.REJECTED, code=code, message=message)
                raise_alert(
                    "ORDER_REJECTED", f"{order.instrument.ticker}: {message}", owner_id=order.portfolio.owner_id,
                    about=str(order.pk), next_step="Read the order's story.",
                )  # fmt: skip
        case Unknown(cause=cause):
            if order.state == OrderState.SENDING:
                mark_unknown(order, cause)
    order.save()
    after_commit("engine.group", account_id=order.account_id, group_id=str(order.group_id))


def _belongs_to_another(order: Order, broker_order_id: str) -> bool:
    """The broker named a number that is somebody else's: quarantined, and looked up by its tag like any doubt."""
    others = Order.objects.filter(account_id=order.account_id, broker_order_id=broker_order_id).exclude(pk=order.pk)
    if order.state != OrderState.SENDING or not others.exists():
        return False
    note(order, "broker.id_taken", source="ENGINE", applied=False, number=broker_order_id)
    Group.objects.filter(pk=order.group_id).update(quarantined=True)
    raise_alert(
        "BROKER_ID_CONFLICT", f"The broker answered {order.client_order_id} with the number of another order.",
        level=Level.SEVERE, owner_id=order.portfolio.owner_id, about=str(order.pk),
        next_step="Nothing to do: it is looked up by its tag.",
    )  # fmt: skip
    return True


def mark_unknown(order: Order, cause: str) -> None:
    """Nobody knows whether it arrived. Its reservation stays held until the broker's book has spoken."""
    wall = timezone.now()
    note(order, "order.unknown", source="ENGINE", to_state=OrderState.UNKNOWN, cause=cause)
    order.unknown_since = wall
    order.absent_books = 0
    order.next_probe_at = wall + timedelta(seconds=FIRST_PROBE_S)
    raise_alert(
        "ORDER_UNKNOWN", f"{order.instrument.ticker}: the broker has not said whether it has the order.",
        level=Level.SEVERE, owner_id=order.portfolio.owner_id, about=str(order.pk),
        next_step="Nothing to do: the broker's book is being asked.",
    )  # fmt: skip


def bind(order: Order, broker_order_id: str) -> None:
    """Tie an order to the broker's number, once. Another number for it is a quarantine, not an overwrite."""
    if order.broker_order_id is None:
        order.broker_order_id = broker_order_id
    elif order.broker_order_id != broker_order_id:
        note(
            order, "broker.id_conflict", source="BOOK", applied=False, known=order.broker_order_id, new=broker_order_id
        )
        Group.objects.filter(pk=order.group_id).update(quarantined=True)
        raise_alert(
            "BROKER_ID_CONFLICT", f"Two broker orders carry the tag {order.client_order_id}.", level=Level.SEVERE,
            owner_id=order.portfolio.owner_id, about=str(order.pk), next_step="Compare with the broker's order book.",
        )  # fmt: skip


@transaction.atomic
def lease_expired(*, order_id: int) -> bool:
    """An order that was being sent by an engine that is gone: it may have left."""
    order = Order.objects.lock(order_id)
    if order.state != OrderState.SENDING or order.lease_expires_at is None or order.lease_expires_at > timezone.now():
        return False
    ORDER_MOVES.check(order.state, OrderState.UNKNOWN)
    mark_unknown(order, "the engine stopped while it was sending")
    order.save()
    crashpoint("house.lease_expired")
    return True
