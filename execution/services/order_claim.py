"""What may go to the broker now, claimed together: each row by its own compare-and-swap, all of them in one commit."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from secrets import randbits
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from accounts.selectors import needs_login
from execution.brokers.port import CallClass
from execution.kill_scopes import keys_of
from execution.models import EngineLease, Order
from execution.services.events import note
from execution.states import OrderState, PendingOp
from risk.kill_switch import kill_state
from risk.order_rate import in_turn, taking_turns
from trading.domain.clock import running_s
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import OrderRequest, OrderType, Product, Reason, Side
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit
from trading.realtime.publish import publish_with_next
from trading.statements import alone, run

logger = logging.getLogger(__name__)
LEASE_S = 15
SEND_WITHIN_S = 5.0
"""A claim that is older does not leave any more: less than an engine's lease of the account lasts without it."""
ASK_AGAIN_S = 0.1
EXITS_WAIT = "EXITS_WAIT_FOR_LOGIN"

# Still in time, this engine still holds the account and may enter, the broker knows us, and no kill switch since.
_MAY_LEAVE = f"""o.pending_op = 'NONE' AND o.valid_until > clock_timestamp() AND NOT {needs_login("o.account_id")}
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
               WHERE g.id = o.group_id)::text[]))"""  # noqa: S608 - made of constants
# One statement decides for each: still queued, not void for this claim, and it may leave. It waits for nobody, neither
# for an order that somebody else holds nor for his place in the rate: what it was asked before a wait (kill switch,
# pause, lease) might be otherwise after it. It is a transaction of its own: what it gives back has committed.
_CLAIM = """
WITH {turn}picked AS MATERIALIZED (
    SELECT o.id, token FROM execution_order o
    JOIN unnest(%(orders)s::bigint[], %(tokens)s::uuid[]) asked(id, token) ON asked.id = o.id
    WHERE {come} AND o.state = 'QUEUED' AND coalesce(o.claim_token < token, true)
    ORDER BY o.id FOR UPDATE OF o SKIP LOCKED
), claimed AS (
    UPDATE execution_order o
    SET state = 'SENDING', claim_token = picked.token, sent_at = clock_timestamp(),
        lease_expires_at = clock_timestamp() + %(lease)s * interval '1s'
    FROM picked
    WHERE o.id = picked.id AND o.state = 'QUEUED' AND {may_leave}
    RETURNING o.*
), told AS (
    INSERT INTO execution_orderevent (order_id, seq, kind, source, from_state, to_state, applied, detail, at)
    SELECT claimed.id, coalesce((SELECT max(e.seq) FROM execution_orderevent e WHERE e.order_id = claimed.id), 0) + 1,
           'order.claimed', 'ENGINE', 'QUEUED', 'SENDING', true, '{{}}', clock_timestamp()
    FROM claimed
)
{told}
"""
# As they are given to the broker; one row without an order where there is none.
_TOLD = """
SELECT {come}, c.id, c.claim_token, c.client_order_id, i.symbol, c.side, c.quantity, c.order_type, c.product,
       c.limit_price, c.trigger_price, c.reason, c.group_id, p.owner_id
FROM (SELECT 1) one LEFT JOIN (
    claimed c JOIN marketdata_instrument i ON i.id = c.instrument_id
    JOIN portfolio_portfolio p ON p.id = c.portfolio_id
) ON true
"""
# Those of the orders that bear these tokens. Whoever writes one of them is waited for: its newest row counts. Where the
# claim has not come to a row yet, it finds its own token there, and takes nothing: tokens only grow.
CLAIMED = """
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(%(orders)s::bigint[], %(tokens)s::uuid[]) AS a(id, token)
), kept AS MATERIALIZED (
    SELECT o.* FROM execution_order o WHERE o.id = ANY(%(orders)s) ORDER BY o.id FOR UPDATE
), void AS (
    UPDATE execution_order o SET claim_token = asked.token FROM kept JOIN asked ON asked.id = kept.id
    WHERE o.id = kept.id AND o.state = 'QUEUED' AND coalesce(o.claim_token < asked.token, true)
), claimed AS (
    SELECT kept.* FROM kept JOIN asked ON asked.id = kept.id AND asked.token = kept.claim_token
    WHERE kept.state = 'SENDING'
)
""" + _TOLD.format(come="true")  # noqa: S608 - made of constants
# What a claim asks, of orders that are locked: asked after whoever held them was waited for.
MAY_STILL_LEAVE = f"SELECT o.id FROM execution_order o WHERE o.id = ANY(%(orders)s) AND {_MAY_LEAVE}"  # noqa: S608


def _statement(*, in_turn: bool) -> str:
    come = "EXISTS (SELECT 1 FROM turn)" if in_turn else "true"
    turn = taking_turns(also=f"NOT {needs_login('%(account)s')}") + ", " if in_turn else ""
    whole = _CLAIM.format(turn=turn, come=come, may_leave=_MAY_LEAVE, told=_TOLD.format(come=come))
    # How a longer statement than 4,096 characters is read, psycopg does not keep.
    return " ".join(whole.split()).replace("( ", "(").replace(" )", ")").replace(" || ", "||")


CLAIM = {turn: _statement(in_turn=turn) for turn in (False, True)}
"""Whether the turn of the orders is taken with them."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """One order that this engine has to give to the broker, now. `token` names the claim in whatever is said of it;
    `claimed_at` is by `running_s`, before the claim was asked for."""

    order_id: int
    token: UUID
    request: OrderRequest
    klass: CallClass
    claimed_at: float = field(default_factory=running_s)


_CLAIMS = count(1)


def _token(fence: int) -> UUID:
    """The name of a claim, greater than that of any before it: of the same engine by its number, of one that had the
    account earlier by its fence."""
    return UUID(int=fence << 88 | next(_CLAIMS) << 48 | randbits(48))


def class_of(reason: str) -> CallClass:
    return CallClass.ORDER if reason == Reason.ENTRY else CallClass.EXIT


def orders_claim(*, order_ids: Sequence[int], fence: int) -> list[Claimed]:
    """Those of the orders that are claimed now, as they were given. `fence` is the token of this engine's lease.

    One that may not be sent is withdrawn with its cause; nothing happens to one that is not queued any more.
    """
    return _rest_alone(order_ids, fence, _claim(order_ids, fence))


def orders_claim_in_turn(
    *, account_id: int, klass: CallClass, order_ids: Sequence[int], fence: int
) -> list[Claimed] | None:  # fmt: skip
    """The same for orders of one account and class, with their places in its rate: one statement, one commit. None: the
    turn of one of them has not come, or somebody has to sign in; then nothing was claimed and no place taken."""
    claimed = _claim(order_ids, fence, in_turn(account_id, klass, len(order_ids)))
    return None if claimed is None else _rest_alone(order_ids, fence, claimed)


def _rest_alone(order_ids: Sequence[int], fence: int, found: list[Claimed] | None) -> list[Claimed]:
    """What was not claimed has its own reason: it may not leave, or somebody held it just then."""
    claimed = {one.order_id: one for one in found or ()}
    try:
        for order_id in order_ids:
            if order_id in claimed:
                continue
            if _is_free_to_leave(order_id, fence):
                claimed |= {one.order_id: one for one in _claim([order_id], fence) or ()}
    except Exception:
        if not claimed:
            raise
        # What is claimed leaves now, or nobody knows for minutes whether it did; the sweep finds the others again.
        logger.exception("of several orders one could not be claimed")
        connection.close_if_unusable_or_obsolete()
    return [claimed[order_id] for order_id in order_ids if order_id in claimed]


def claims_prepare(account_id: int) -> None:
    """Plan what this thread's connection will claim with, before the first order waits for it."""
    nothing = {"orders": [], "tokens": [], "lease": LEASE_S, "fence": 0}
    for turn, statement in CLAIM.items():
        run(statement, nothing | (in_turn(account_id, CallClass.ORDER, 0) if turn else {}))


def _claim(order_ids: Sequence[int], fence: int, turns: dict[str, Any] | None = None) -> list[Claimed] | None:
    crashpoint("dispatch.before_claim")
    began = running_s()  # before the commit: what is counted from here is never too short
    asked = {
        "orders": list(order_ids), "tokens": [_token(fence) for _ in order_ids], "lease": LEASE_S, "fence": fence,
        **(turns or {}),
    }  # fmt: skip
    crashpoint("dispatch.claiming")
    try:
        with alone():
            rows = run(CLAIM[turns is not None], asked)
    except (OperationalError, InterfaceError) as error:
        rows = _kept_all_the_same(asked, began, error)
    claimed = _given(rows, began)
    return claimed if rows[0][0] else None


def claims_found(tokens: Mapping[int, UUID], *, fence: int) -> list[Claimed]:
    """Claims of this engine, by order, of which it has sent nothing: those that may leave now. Others are withdrawn."""
    began = running_s()
    asked = {"orders": list(tokens), "tokens": list(tokens.values()), "fence": fence}
    return _given(_claimed_after_all(asked) or (), began)


def _given(rows: Sequence[tuple[Any, ...]], began: float) -> list[Claimed]:
    claimed, told = [], []
    for _, *row in (row for row in rows if row[1] is not None):
        order_id, token, tag, symbol, side, quantity, order_type, product, limit, trigger, reason, group_id, owner = row
        told.append((owner, "order", {
            "order": order_id, "group": str(group_id), "state": OrderState.SENDING, "event": "order.claimed",
        }))  # fmt: skip
        request = OrderRequest(
            client_order_id=tag, symbol=symbol, side=Side(side), quantity=quantity, order_type=OrderType(order_type),
            product=Product(product), limit_price=limit, trigger_price=trigger,
        )  # fmt: skip
        claimed.append(Claimed(order_id, token, request, class_of(reason), began))
    publish_with_next(told)  # a thread that woke now would hold up the one that writes to the broker
    return claimed


def _kept_all_the_same(asked: dict[str, Any], began: float, lost: Exception) -> list[tuple[Any, ...]]:
    """The line to the database was lost with the answer: what has been claimed under our tokens is ours, nothing of it
    was sent, and it leaves now, if it still may. What has not been claimed by now never is under these tokens, however
    late their claim comes. Asked for as long as it might still leave; raises `lost` where nothing was claimed."""
    while running_s() - began < SEND_WITHIN_S:
        connection.close()
        try:
            found = _claimed_after_all(asked)
        except (OperationalError, InterfaceError):
            time.sleep(ASK_AGAIN_S)
            continue
        if found is None:
            break
        return found or [(True, None)]
    raise lost


@transaction.atomic(durable=True)
def _claimed_after_all(asked: dict[str, Any]) -> list[tuple[Any, ...]] | None:
    """What was claimed and may leave; None: nothing was claimed. What was and may not leave any more is withdrawn: it
    is said while its row is held, so that no word of it comes later than whoever asks again."""
    rows = run(CLAIMED, asked)
    claimed = [row[1] for row in rows if row[1] is not None]
    logger.warning("of a claim nobody heard: %d of %d are claimed", len(claimed), len(asked["orders"]))
    if not claimed:
        return None
    may_leave = {order_id for (order_id,) in run(MAY_STILL_LEAVE, asked | {"orders": claimed})}
    for order_id in claimed:
        if order_id not in may_leave:
            order = Order.objects.get(pk=order_id)  # locked; its trade, which comes before it, is not needed
            order.sent_at = order.lease_expires_at = None
            _withdraw(order, _void_for(order, asked["fence"]) or "nothing may leave for this account")
    return [row for row in rows if row[1] in may_leave]


def orders_hold(*, account_id: int, fence: int) -> None:
    """Nothing leaves before somebody has signed in at the broker. What has become void meanwhile is withdrawn, as an
    entry is after half a minute; ways out are made anew by their trade, wait, and are told of."""
    queued = Order.objects.filter(account_id=account_id, state=OrderState.QUEUED)
    for order_id in queued.order_by("pk").values_list("pk", flat=True):
        _is_free_to_leave(order_id, fence)
    ways_out = queued.exclude(reason=Reason.ENTRY).select_related("instrument", "account").order_by("pk")
    if ways_out:
        first, others = ways_out[0], len(ways_out) - 1
        raise_alert(
            EXITS_WAIT, f"{first.instrument.ticker}{f' and {others} more' if others else ''}: the way out waits for a"
            f" sign-in at {first.account.name}.", level=Level.SEVERE, owner_id=first.account.owner_id,
            about=str(account_id), next_step="Sign in at the broker, or close it in the broker's app.",
        )  # fmt: skip


@transaction.atomic
def _is_free_to_leave(order_id: int, fence: int) -> bool:
    """Whether an order is queued and nothing is known against it, once whoever holds it is done. One that failed its
    claim for good (too late, killed, or cancelled before it left) is withdrawn."""
    order = Order.objects.lock(order_id)
    if order.state != OrderState.QUEUED:
        return False
    if cause := _void_for(order, fence):
        _withdraw(order, cause)
    return not cause


def _void_for(order: Order, fence: int) -> str:
    """Why a locked order is not to leave, ever; "" where nothing is known against it."""
    if order.pending_op != PendingOp.NONE:
        return "cancelled before it was sent"
    if order.valid_until <= timezone.now():
        return "not sent in time"
    if _is_void(order):
        return "the kill switch was pulled"
    paused = EngineLease.objects.filter(account_id=order.account_id, token=fence).exclude(paused_by="")
    return "the engine was paused" if order.reason == Reason.ENTRY and paused.exists() else ""


def _withdraw(order: Order, cause: str) -> None:
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
