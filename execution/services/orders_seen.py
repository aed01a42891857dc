"""What a broker says of many orders at once. What is usual, an order that works just as we know it, is written in one
statement for all of them; everything else goes the way of `order_update`, each alone."""

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from django.db import IntegrityError

from execution.brokers.port import BookOrder, BrokerStatus
from execution.models import Group
from execution.services.order_update import STATE_OF
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import OrderType
from trading.outbox import after_commit
from trading.realtime.publish import Event, publish_aside_after_commit
from trading.statements import run, whole

AT_WORK = (BrokerStatus.TRANSIT, BrokerStatus.PENDING)
STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)

# An order with our tag and this number, or none yet, works at the broker with the size, the prices and the fills that
# we know, nothing is under way with it and nobody has said later news. Trades are locked before orders, and what
# somebody else holds is passed over, as is whatever is not just so.
SEEN = """
WITH said AS MATERIALIZED (
    SELECT * FROM unnest(%(tags)s::text[], %(numbers)s::text[], %(states)s::text[], %(quantities)s::bigint[],
                         %(filled)s::bigint[], %(limits)s::numeric[], %(updated)s::timestamptz[], %(messages)s::text[],
                         %(statuses)s::text[], %(triggers)s::numeric[])
        AS s(tag, number, target, quantity, filled, shown, updated, message, status, trigger)
), trade AS MATERIALIZED (
    SELECT id, state, ladder_id, close_reason FROM execution_group
    WHERE id IN (SELECT o.group_id FROM execution_order o JOIN said ON said.tag = o.client_order_id)
    ORDER BY id FOR UPDATE SKIP LOCKED
), picked AS MATERIALIZED (
    SELECT o.id, o.state AS was,
           CASE WHEN o.state = 'OPEN' THEN 'OPEN' ELSE said.target END AS target,
           said.number, said.updated, said.message, said.status
    FROM said JOIN execution_order o ON o.client_order_id = said.tag JOIN trade ON trade.id = o.group_id
    WHERE o.account_id = %(account)s AND trade.state <> 'CLOSED' AND o.state IN ('SENDING', 'ACKED', 'OPEN')
      AND o.pending_op = 'NONE' AND o.pending_quantity IS NULL AND o.pending_limit_price IS NULL
      AND o.unknown_since IS NULL AND o.quantity = said.quantity AND o.filled_quantity = said.filled
      AND (said.shown IS NULL OR o.order_type <> 'LIMIT' OR o.limit_price = said.shown)
      AND (said.trigger IS NULL OR o.trigger_price = said.trigger)
      AND (o.broker_updated_at IS NULL OR said.updated >= o.broker_updated_at)
      AND coalesce(o.broker_order_id, said.number) = said.number
    FOR UPDATE OF o SKIP LOCKED
), bound AS MATERIALIZED (
    SELECT x.id, x.broker_order_id AS number FROM execution_order x
    WHERE x.account_id = %(account)s AND x.broker_order_id = ANY(%(numbers)s)
), seen AS (
    UPDATE execution_order AS o
    SET state = picked.target, lease_expires_at = NULL, broker_order_id = picked.number,
        acked_at = coalesce(o.acked_at, clock_timestamp()),
        broker_updated_at = coalesce(picked.updated, o.broker_updated_at),
        broker_message = CASE WHEN picked.message = '' THEN o.broker_message ELSE picked.message END,
        next_probe_at = NULL
    FROM picked
    WHERE o.id = picked.id AND o.state = picked.was
      AND NOT EXISTS (SELECT 1 FROM bound b WHERE b.number = picked.number AND b.id <> o.id)
      AND NOT EXISTS (SELECT 1 FROM execution_parkedfill p WHERE p.account_id = o.account_id
                      AND p.broker_order_id = picked.number AND p.drained_at IS NULL)
    RETURNING o.id, o.state, o.account_id, o.portfolio_id, o.group_id, o.reason, o.client_order_id, picked.was,
              picked.status, picked.message
), told AS (
    INSERT INTO execution_orderevent (order_id, seq, kind, source, from_state, to_state, applied, detail, at)
    SELECT seen.id, coalesce((SELECT max(e.seq) FROM execution_orderevent e WHERE e.order_id = seen.id), 0) + 1,
           'order.seen', %(source)s, seen.was, seen.state, true,
           jsonb_build_object('status', seen.status, 'message', seen.message), clock_timestamp()
    FROM seen WHERE seen.was <> seen.state
), began AS (
    UPDATE execution_group AS g SET state = 'LIVE'
    WHERE g.state = 'WAITING' AND g.id IN (SELECT group_id FROM seen WHERE reason = 'ENTRY')
    RETURNING g.id
)
SELECT seen.client_order_id, seen.id, seen.group_id, p.owner_id, seen.was, seen.state,
       seen.reason = 'ENTRY' AND trade.ladder_id IS NULL AND trade.close_reason = '',
       EXISTS (SELECT 1 FROM began WHERE began.id = seen.group_id)
FROM seen JOIN trade ON trade.id = seen.group_id JOIN portfolio_portfolio p ON p.id = seen.portfolio_id
"""


def orders_seen(*, account_id: int, news: Sequence[BookOrder], source: str) -> list[BookOrder]:
    """Write down together what is usual; returns the news that is left, to be taken one by one, as it came."""
    first: dict[str, BookOrder] = {}
    for one in news:
        tag = one.client_order_id
        if tag and tag not in first and one.status in AT_WORK:
            first[tag] = one
    if not first:
        return list(news)
    known: set[str] = set()
    crashpoint("fills.orders_seen")
    with suppress(IntegrityError), whole():  # somebody numbers an event of one of them: each alone
        known = _write(account_id, list(first.values()), source)
    done = {id(first[tag]) for tag in known}
    return [one for one in news if id(one) not in done]


def _write(account_id: int, news: list[BookOrder], source: str) -> set[str]:
    rows = run(SEEN, {
        "account": account_id, "source": source, "tags": [one.client_order_id for one in news],
        "numbers": [one.broker_order_id for one in news], "states": [str(STATE_OF[one.status]) for one in news],
        "quantities": [one.quantity for one in news], "filled": [one.filled_quantity for one in news],
        "limits": [one.limit_price or None if one.order_type == OrderType.LIMIT else None for one in news],
        "updated": [one.updated_at for one in news], "messages": [one.message[:240] for one in news],
        "statuses": [str(one.status) for one in news],
        "triggers": [one.trigger_price or None if one.order_type in STOPS else None for one in news],
    })  # fmt: skip
    told: list[Event] = []
    begun: set[UUID] = set()
    for _, order_id, group_id, owner_id, was, state, rests, began in rows:
        if was != state:
            told.append((owner_id, "order", {
                "order": order_id, "group": str(group_id), "state": state, "event": "order.seen",
            }))  # fmt: skip
            if not rests:  # else nothing follows before it fills
                after_commit("engine.group", account_id=account_id, group_id=str(group_id))
        if began and group_id not in begun:
            begun.add(group_id)
            told.append((owner_id, "position", {"group": str(group_id), "state": Group.State.LIVE}))
    publish_aside_after_commit(told)
    return {tag for tag, *_ in rows}
