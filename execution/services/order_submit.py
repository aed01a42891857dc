"""Send an order, once.

The row says SENDING before the first byte leaves, in a transaction of its own. What comes back is one of three things:
acknowledged, refused, unknown. Unknown is looked up in the broker's book by its tag; it is never sent again.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from execution.brokers.port import (
    Acknowledged,
    BrokerGateway,
    CallClass,
    Refused,
    SendResult,
    SendsTogether,
    Unknown,
)
from execution.brokers.registry import AuthState, set_auth_state
from execution.models import Group, Order
from execution.services.events import note
from execution.services.fill_apply import drain_parked
from execution.services.group_reopen import group_reopen
from execution.services.order_claim import SEND_WITHIN_S, Claimed, class_of, orders_claim
from execution.states import ORDER_MOVES, OrderState
from risk.order_rate import take_turn
from trading.domain.clock import running_s
from trading.domain.crashpoint import crashpoint
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit
from trading.realtime.publish import Event, publish_aside_after_commit
from trading.statements import run, whole

_PACED = {CallClass.ORDER: CallClass.PACED, CallClass.EXIT: CallClass.PACED_EXIT}
FIRST_PROBE_S = 1

# Each order is at the broker, under a number that is nobody else's, and no fill waits for it; the stream may have said
# so before. Trades are locked before orders; whoever changed one meanwhile makes this pass it over, and of several one
# that somebody else holds. An entry is what its trade begins with: from now on it is at the broker.
_ACKNOWLEDGE = """
WITH said AS MATERIALIZED (
    SELECT * FROM unnest(%(orders)s::bigint[], %(tokens)s::uuid[], %(numbers)s::text[], %(messages)s::text[],
                         %(arrivals)s::numeric[]) AS s(id, token, number, message, arrival)
), trade AS MATERIALIZED (
    SELECT id, state, ladder_id, close_reason FROM execution_group
    WHERE id IN (SELECT o.group_id FROM execution_order o JOIN said ON said.id = o.id) ORDER BY id FOR UPDATE {others}
), picked AS MATERIALIZED (
    SELECT o.id, o.account_id, o.state AS was, said.number, said.message, said.arrival
    FROM said JOIN execution_order o ON o.id = said.id JOIN trade ON trade.id = o.group_id
    WHERE trade.state <> 'CLOSED' AND o.claim_token = said.token AND o.state IN ('SENDING', 'ACKED', 'OPEN')
    FOR UPDATE OF o {others}
), bound AS MATERIALIZED (
    SELECT x.id, x.account_id, x.broker_order_id AS number FROM execution_order x
    WHERE x.account_id = ANY(ARRAY(SELECT DISTINCT account_id FROM picked)) AND x.broker_order_id = ANY(%(numbers)s)
), acked AS (
    UPDATE execution_order AS o
    SET state = CASE WHEN o.state = 'SENDING' THEN 'ACKED' ELSE o.state END, lease_expires_at = NULL,
        unknown_since = NULL, broker_order_id = picked.number, broker_message = picked.message,
        acked_at = coalesce(o.acked_at, clock_timestamp()), arrival_price = coalesce(o.arrival_price, picked.arrival)
    FROM picked
    WHERE o.id = picked.id AND o.state = picked.was AND coalesce(o.broker_order_id, picked.number) = picked.number
      AND NOT EXISTS (SELECT 1 FROM bound b
                      WHERE b.account_id = o.account_id AND b.number = picked.number AND b.id <> o.id)
      AND NOT EXISTS (SELECT 1 FROM execution_parkedfill p WHERE p.account_id = o.account_id
                      AND p.broker_order_id = picked.number AND p.drained_at IS NULL)
    RETURNING o.id, o.account_id, o.portfolio_id, o.group_id, o.reason, o.pending_op, o.broker_order_id, picked.was
), told AS (
    INSERT INTO execution_orderevent (order_id, seq, kind, source, from_state, to_state, applied, detail, at)
    SELECT acked.id, coalesce((SELECT max(e.seq) FROM execution_orderevent e WHERE e.order_id = acked.id), 0) + 1,
           'order.acknowledged', 'ENGINE', 'SENDING', 'ACKED', true,
           jsonb_build_object('broker_id', acked.broker_order_id), clock_timestamp()
    FROM acked WHERE acked.was = 'SENDING'
), began AS (
    UPDATE execution_group AS g SET state = 'LIVE'
    WHERE g.state = 'WAITING' AND g.id IN (SELECT group_id FROM acked WHERE reason = 'ENTRY')
    RETURNING g.id
)
SELECT acked.id, acked.account_id, acked.group_id, p.owner_id, acked.was,
       acked.reason = 'ENTRY' AND acked.pending_op = 'NONE' AND trade.ladder_id IS NULL AND trade.close_reason = '',
       EXISTS (SELECT 1 FROM began WHERE began.id = acked.group_id)
FROM acked JOIN trade ON trade.id = acked.group_id JOIN portfolio_portfolio p ON p.id = acked.portfolio_id
"""
ACKNOWLEDGE_ONE, ACKNOWLEDGE_MANY = _ACKNOWLEDGE.format(others=""), _ACKNOWLEDGE.format(others="SKIP LOCKED")

PriceOf = Callable[[str], Decimal | None]


def _no_price(symbol: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the broker said of one claim, and where the market was when the order left."""

    order_id: int
    token: UUID
    result: SendResult
    arrival_price: Decimal | None = None


def order_submit(
    *, order_id: int, gateway: BrokerGateway, fence: int, paced: bool = False, price_of: PriceOf = _no_price
) -> None:
    """Claim a queued order and give it to the broker; `fence` is the token of this engine's lease.

    Does nothing to an order that is not queued any more. An order that may not be sent is withdrawn with its cause.
    `paced`: its turn in the account's order rate is waited for here, and not asked again by the gateway. The claim
    comes after the wait and nothing comes between it and the wire: a kill switch, a pause or a lost lease still stops
    an order whose turn has not come. `price_of` tells where the market is, by symbol, when the order leaves.
    """
    orders_submit(order_ids=[order_id], gateway=gateway, fence=fence, paced=paced, price_of=price_of)


def orders_submit(
    *, order_ids: Sequence[int], gateway: BrokerGateway, fence: int, paced: bool = False, price_of: PriceOf = _no_price
) -> None:
    """The same for several: claimed together, sent one after the other, written down together."""
    outcomes: list[Outcome] = []
    turned = [order_id for order_id in order_ids if not paced or _await_turn(order_id)]
    try:
        for claimed in orders_claim(order_ids=turned, fence=fence) if turned else ():
            for some in orders_place([claimed], gateway=gateway, paced=paced, price_of=price_of):
                outcomes += some
    finally:
        outcomes_record(outcomes)


def orders_place(
    claimed: Sequence[Claimed], *, gateway: BrokerGateway, paced: bool, price_of: PriceOf
) -> Iterator[list[Outcome]]:
    """Give claimed orders of one class to the broker, each once: side by side where the gateway can, else one after the
    other. What the broker has said of some is told without waiting for the others."""
    for _ in claimed:
        crashpoint("dispatch.claimed")
    if late := [one for one in claimed if _slept(one)]:
        not_sent = Refused("NOT_SENT", "It slept between its claim and the wire, and has not left.")
        yield [Outcome(one.order_id, one.token, not_sent) for one in late]
        claimed = [one for one in claimed if one not in late]
    if not claimed:
        return
    arrivals = [price_of(one.request.symbol) for one in claimed]
    klass = _PACED[claimed[0].klass] if paced else claimed[0].klass
    results: Iterable[list[tuple[int, SendResult]]]
    if len(claimed) > 1 and isinstance(gateway, SendsTogether):
        results = gateway.place_together([one.request for one in claimed], klass=klass)
    else:
        results = ([(place, gateway.place(one.request, klass=klass))] for place, one in enumerate(claimed))
    for some in results:
        crashpoint("dispatch.answered")
        yield [
            Outcome(claimed[place].order_id, claimed[place].token, result, arrivals[place]) for place, result in some
        ]


def _slept(claimed: Claimed) -> bool:
    """Suspended, or stopped, since it was claimed: the market is another, and so may be who has the account."""
    return running_s() - claimed.claimed_at > SEND_WITHIN_S


def _await_turn(order_id: int) -> bool:
    """Take a place in the account's order rate and sleep until it comes. What is not queued takes none: False."""
    found = run("SELECT account_id, reason FROM execution_order WHERE id = %s AND state = 'QUEUED'", [order_id])
    if not found:
        return False
    account_id, reason = found[0]
    wait_s = take_turn(account_id, class_of(reason))
    if wait_s:
        time.sleep(wait_s)
    return True


def record_send(
    *, order_id: int, token: UUID, result: SendResult, arrival_price: Decimal | None = None
) -> None:  # fmt: skip
    """Write down what the broker said. A late reply is evidence too, as long as it answers this claim."""
    outcomes_record([Outcome(order_id, token, result, arrival_price)])


def outcomes_record(outcomes: Sequence[Outcome]) -> None:
    """Write down what the broker said of several orders: what is usual in one statement, the rest one by one."""
    known: set[int] = set()
    usual = [one for one in outcomes if isinstance(one.result, Acknowledged)]
    if outcomes:
        crashpoint("dispatch.recording")
    # Who waited for the lock of a trade may number its event as somebody else has just done: then the long way.
    with suppress(IntegrityError):
        if usual:
            with whole():
                known = _acknowledged(usual)
    failure: Exception | None = None
    for one in outcomes:
        if one.order_id in known:
            continue
        try:
            _record_alone(one)
        except Exception as error:  # what the broker said of the others is written down all the same
            failure = failure or error
    if outcomes:
        crashpoint("dispatch.recorded")
    if failure is not None:
        raise failure


@transaction.atomic
def _record_alone(outcome: Outcome) -> None:
    _record(outcome.order_id, outcome.token, outcome.result, outcome.arrival_price)


def _acknowledged(outcomes: Sequence[Outcome]) -> set[int]:
    """The usual end, together; the orders it was written of. Nothing is of one about which anything is unusual. One
    statement is a transaction of its own: no trip begins or commits it."""
    said = [(one, one.result) for one in outcomes if isinstance(one.result, Acknowledged)]
    rows = run(ACKNOWLEDGE_ONE if len(said) == 1 else ACKNOWLEDGE_MANY, {
        "orders": [one.order_id for one, _ in said], "tokens": [one.token for one, _ in said],
        "numbers": [result.broker_order_id for _, result in said],
        "messages": [(result.message or "")[:240] for _, result in said],
        "arrivals": [one.arrival_price for one, _ in said],
    })  # fmt: skip
    told: list[Event] = []
    begun: set[UUID] = set()
    for order_id, account_id, group_id, owner_id, was, rests, began in rows:
        if was == OrderState.SENDING:
            told.append((owner_id, "order", {
                "order": order_id, "group": str(group_id), "state": OrderState.ACKED, "event": "order.acknowledged",
            }))  # fmt: skip
        if began and group_id not in begun:
            begun.add(group_id)
            told.append((owner_id, "position", {"group": str(group_id), "state": Group.State.LIVE}))
        if not rests:  # else nothing follows before the exchange says more
            after_commit("engine.group", account_id=account_id, group_id=str(group_id))
    publish_aside_after_commit(told)
    return {order_id for order_id, *_ in rows}


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
            if code == "AUTH":
                _sign_in_lost(order, message)
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


def _sign_in_lost(order: Order, message: str) -> None:
    """The broker does not know us any more: nothing is entered from now on, and the engine looks for itself. What was
    sent before the newest sign-in tells nothing of that."""
    account = order.account
    newer = account.validated_at is not None and order.sent_at is not None and order.sent_at < account.validated_at
    if account.auth_state != AuthState.AUTHENTICATED or account.is_paper or newer:
        return  # a paper account is signed in where its prices come from
    set_auth_state(account, AuthState.EXPIRED, message)
    after_commit("engine.books", account_id=account.pk)


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


def bind_to_the_book(order: Order, broker_order_id: str, *, shown: Collection[str]) -> None:
    """The broker answered with a number that its book does not show, and the book has our tag under another. As nothing
    was ever heard under the first, the order goes by the second: else its fills were neither booked nor protected."""
    heard = order.state != OrderState.ACKED or order.broker_updated_at is not None or order.filled_quantity
    if heard or order.broker_order_id in (None, broker_order_id) or order.broker_order_id in shown:
        return
    note(order, "broker.id_corrected", source="BOOK", answered=order.broker_order_id, new=broker_order_id)
    order.broker_order_id = broker_order_id
    Group.objects.filter(pk=order.group_id).update(quarantined=True)
    raise_alert(
        "BROKER_ID_CONFLICT", f"The broker answered {order.client_order_id} with a number that its book does not have.",
        level=Level.SEVERE, owner_id=order.portfolio.owner_id, about=str(order.pk),
        next_step="Nothing to do: it was found by its tag.",
    )  # fmt: skip


@transaction.atomic
def lease_expired(*, order_id: int) -> bool:
    """An order that was being sent by an engine that is gone: it may have left."""
    order = Order.objects.lock(order_id)
    # By the clock that gave the lease.
    if order.state != OrderState.SENDING or not Order.objects.filter(pk=order.pk, lease_expires_at__lte=Now()).exists():
        return False
    ORDER_MOVES.check(order.state, OrderState.UNKNOWN)
    mark_unknown(order, "the engine stopped while it was sending")
    order.save()
    crashpoint("house.lease_expired")
    return True
