"""What an engine does for one account, without a thread of its own: it hears, it acts, it sweeps.

The same object is driven by threads on a running desk and step by step in a replay, so that a replayed day walks the
very path that a live one does.
"""

import logging
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from accounts.models import BrokerAccount
from accounts.selectors import needs_login
from execution.brokers.port import BookOrder, BrokerGateway, CallClass, Tick
from execution.brokers.sources import BrokerHistory
from execution.engine.books import read_books
from execution.engine.dispatch import Dispatch
from execution.engine.funds import read_funds
from execution.engine.handed import HandedClaims
from execution.engine.market import Market
from execution.engine.one_of_many import one_of_many
from execution.engine.rules_due import rules_due
from execution.models import Group, PartExit, ReconRun
from execution.reconcile.run import reconcile
from execution.services.approval_decide import approval_expire
from execution.services.fill_apply import fill_apply
from execution.services.group_advance import group_advance
from execution.services.group_exit import group_exit
from execution.services.order_change import order_change
from execution.services.order_chase import ENTRY_PATIENCE
from execution.services.order_claim import Claimed, class_of, orders_hold
from execution.services.order_submit import lease_expired, orders_place, orders_submit, outcomes_record
from execution.services.order_update import order_update
from execution.services.orders_seen import orders_seen
from execution.services.part_exit import part_due
from execution.services.queue_promote import queue_promote
from execution.services.signal_accept import MOST, signal_accept, signals_accept
from execution.states import AT_EXCHANGE, LIVE_STATES
from risk.drawdown_watch import watch_drawdown
from risk.loss_locks import latch_losses
from risk.models import BrokerFunds
from risk.policies import active_policy
from strategies.models import Signal
from trading.domain.clock import IST
from trading.domain.fills import FillFact
from trading.domain.orders import Reason
from trading.doorbell import Bell
from trading.marketdata.candles import STREAM, store_bars
from trading.marketdata.fetching.history import ensure_candles
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.sources import HistoryUnavailable
from trading.marketdata.watermark import set_candles_through
from trading.outbox import after_commit
from trading.portfolio.models import Portfolio, Position
from trading.portfolio.valuation import Valuation, value_portfolio
from trading.statements import Select, run
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)

Now = Callable[[], datetime]
ROUNDS = 20
"""Rounds of signals that a bell or a sweep decides before other work has its turn."""


def _quoted(states: Iterable[str]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


_LIVE = _quoted(LIVE_STATES)
QUEUED = f"""
SELECT id, reason, {needs_login("account_id")} FROM execution_order
WHERE account_id = %s AND state = 'QUEUED' AND created_at >= coalesce(%s::timestamptz, created_at)
ORDER BY reason = '{Reason.ENTRY}', id
"""  # noqa: S608 - made of constants
CHANGES = f"""
SELECT id FROM execution_order WHERE account_id = %s AND state IN ({_quoted(AT_EXCHANGE)}) AND pending_op <> 'NONE'
ORDER BY id
"""  # noqa: S608 - made of constants
WATCHED = Select(
    Group,
    "instrument",
    where=f"""
JOIN portfolio_portfolio p ON p.id = t.portfolio_id
WHERE p.account_id = %s AND t.state IN ({_quoted(Group.HELD)}) AND t.close_reason = ''
""",
)
WATCHED_PARTS = Select(
    PartExit,
    "group__instrument",
    where=f"""
JOIN portfolio_portfolio p ON p.id = t_group.portfolio_id
WHERE p.account_id = %s AND t.state = 'WAITING'
  AND t_group.state IN ({_quoted(Group.HELD)}) AND t_group.close_reason = ''
""",
)
# Whose queue has somebody waiting, which questions nobody answered in time, which claims nobody came back from.
WAITING = """
SELECT
    ARRAY(SELECT DISTINCT q.portfolio_id FROM execution_queuedsignal q
          JOIN portfolio_portfolio p ON p.id = q.portfolio_id
          WHERE p.account_id = %(account)s AND q.state = 'WAITING' ORDER BY 1),
    ARRAY(SELECT i.id FROM execution_intent i JOIN portfolio_portfolio p ON p.id = i.portfolio_id
          WHERE p.account_id = %(account)s AND i.state = 'WAITING' AND i.decide_by < %(wall)s),
    ARRAY(SELECT id FROM execution_order
          WHERE account_id = %(account)s AND state = 'SENDING' AND lease_expires_at < clock_timestamp())
"""

# All that are not over, and of each whether it is at rest: nothing follows before somebody says something, or its
# patience ends. There may be hundreds. The one order of a hand is on its way to the exchange, or rests there, unfilled;
# a part of a large order has its turns. Or all that is held of a trade of today is protected by stops that rest at the
# exchange, and nothing else is wanted.
TO_ADVANCE = f"""
SELECT g.id, coalesce((
    g.state IN ('WAITING', 'LIVE') AND g.signal_id IS NULL AND g.ladder_id IS NULL AND g.close_reason = ''
    AND coalesce((
        SELECT bool_and(CASE g.state WHEN 'LIVE' THEN o.state IN ('ACKED', 'OPEN') ELSE o.state IN ('QUEUED', 'SENDING')
                        END AND o.pending_op = 'NONE' AND o.filled_quantity = 0
                        AND o.reason = '{Reason.ENTRY}' AND o.placed_at > %(patient)s AND i.parent_id IS NULL)
        FROM execution_order o JOIN execution_intent i ON i.id = o.intent_id WHERE o.group_id = g.id), false)
    AND NOT EXISTS (SELECT 1 FROM execution_parentorder l WHERE l.group_id = g.id AND l.state = 'LIVE')
) OR (
    g.state = 'ACTIVE' AND g.ladder_id IS NULL AND g.close_reason = '' AND NOT g.quarantined AND g.resting_stop IS NULL
    AND g.opened_at >= %(today)s
    AND (SELECT bool_and(o.reason = '{Reason.STOP}' AND o.trigger_price IS NOT NULL AND o.state IN ('ACKED', 'OPEN')
                         AND o.pending_op = 'NONE') FILTER (WHERE o.state IN ({_LIVE}))
                AND sum(o.quantity - o.filled_quantity) FILTER (WHERE o.state IN ({_LIVE}))
                    = abs(sum(CASE o.side WHEN 'BUY' THEN o.filled_quantity ELSE -o.filled_quantity END))
         FROM execution_order o WHERE o.group_id = g.id)
    AND NOT EXISTS (SELECT 1 FROM execution_partexit x WHERE x.group_id = g.id AND x.state IN ('WAITING', 'ASKED'))
    AND NOT EXISTS (SELECT 1 FROM execution_parentorder l WHERE l.group_id = g.id AND l.state = 'LIVE')
), false)
FROM execution_group g JOIN portfolio_portfolio p ON p.id = g.portfolio_id
WHERE p.account_id = %(account)s AND g.state <> 'CLOSED'
ORDER BY g.created_at, g.id
"""  # noqa: S608 - made of constants
RESTING_A_SWEEP = 5
"""Trades at rest that a sweep looks at all the same, in turns: whatever was not foreseen is put right within ten
seconds where a hundred rest, and within two minutes where a thousand do."""


class AccountEngine:
    """The work of one account under one lease. `now` tells venue time; `fence` is the token of the lease."""

    def __init__(
        self, *, account: BrokerAccount, feed: Feed, gateway: BrokerGateway, fence: int, now: Now,
        paced: bool = False,
    ) -> None:  # fmt: skip
        self.account = account
        self.feed = feed
        self.gateway = gateway
        self.fence = fence
        self.now = now
        self._paced = paced  # without a dispatch: entries and exits wait for their turn before they are claimed
        self.dispatch: Dispatch | None = None  # who speaks to the broker; None: whoever asks does, here and now
        self.market = Market(feed, on_guard=self._guard_reached, on_part=self._part_due)
        # Until the books have been read nothing leaves that was queued before this instant: a database that was
        # restored, or has fallen back to a copy, may call queued what was sent long ago. None: they have been.
        self.sends_from: datetime | None = None
        self.exits_asked = 0  # by prices, since whoever counts them last looked
        self.handed = HandedClaims(account_id=account.pk, fence=fence, send=self._send)
        self._swept, self._looked_at_last = False, UUID(int=0)
        # What the broker answered and what its stream says of the same orders come at once. Written one after the other
        # each finds the rows as it expects them; beside each other they would find them locked, and go the long way.
        self.writing = threading.Lock()
        self._deciding = threading.Lock()  # bell and sweep may see the same new signal: one of them sizes it

    # -- hearing -----------------------------------------------------------------------------------------------------

    def hear(self, reports: Sequence[BookOrder | FillFact]) -> None:
        """Reports of the order socket, as they came. Fills first: an order is believed to have ended only when its
        fills are booked. One that fails holds up no other: the books tell it again."""
        for fact in (one for one in reports if isinstance(one, FillFact)):
            with one_of_many("fill", f"{self.account.pk}:{fact.broker_order_id}"):
                fill_apply(account_id=self.account.pk, fact=fact, source="SOCKET")
        news = [one for one in reports if isinstance(one, BookOrder)]
        with self.writing:
            left = orders_seen(account_id=self.account.pk, news=news, source="SOCKET") if news else []
        for one in left:
            with one_of_many("news", f"{self.account.pk}:{one.broker_order_id}"):
                order_update(account_id=self.account.pk, news=one, source="SOCKET")

    def hear_order(self, news: BookOrder) -> None:
        self.hear([news])

    def hear_fill(self, fact: FillFact) -> None:
        self.hear([fact])

    def hear_ticks(self, ticks: Iterable[Tick]) -> None:
        self.market.hear(ticks)

    def _guard_reached(self, group_id: UUID, reason: Reason) -> None:
        if group_exit(group_id=group_id, reason=reason, actor="the price"):
            self.exits_asked += 1
            self.watch_groups()

    def _part_due(self, part_id: int) -> None:
        if part_due(part_id=part_id):
            self.exits_asked += 1
            self.watch_groups()

    # -- acting ------------------------------------------------------------------------------------------------------

    def answer(self, name: str, ids: Mapping[str, Any]) -> None:
        """One bell. What it names is looked up: the row decides, not the message."""
        self.answer_all([(name, ids)])

    def answer_all(self, bells: Sequence[Bell]) -> None:
        """Bells of one reading: orders that wait are given away first, and together; each other has its own turn."""
        queued = [(ids["order_id"], ids["reason"]) for name, ids in bells if name == "engine.order" and "reason" in ids]
        if queued:
            self.give(queued)
        rest = [(name, ids) for name, ids in bells if not (name == "engine.order" and "reason" in ids)]
        for name, ids in rest:
            if name == "engine.signal":
                self._decide()
            elif name == "engine.group":
                with one_of_many("trade", str(ids["group_id"])):
                    group_advance(group_id=ids["group_id"], now=self.now())
            elif name == "engine.queue":
                self._promote(ids["portfolio_id"])
        if rest:
            self.send_queued()
        if any(name == "engine.order" for name, _ in rest):
            self.send_changes()
        if any(name == "engine.group" for name, _ in rest):
            self.watch_groups()

    def _promote(self, portfolio_id: int) -> None:
        with self._deciding:
            queue_promote(portfolio_id=portfolio_id, now=self.now())

    def _decide(self) -> None:
        """Whatever signals have come in, in their order; of a flood so many rounds, and the sweep goes on with it."""
        for _ in range(ROUNDS):
            try:
                with self._deciding:
                    more = signals_accept(account_id=self.account.pk, now=self.now())
            except (OperationalError, InterfaceError):
                raise
            except Exception:
                logger.exception("a round of signals failed: each alone")
                self._decide_one_by_one()
                return
            if not more:
                return

    def _decide_one_by_one(self) -> None:
        """So that one that cannot be decided does not hold up the others, nor opens what a later exit has ended."""
        new = Signal.objects.filter(portfolio__account=self.account, state=Signal.State.NEW)
        undecided: list[UUID] = []
        for signal_id in new.order_by("created_at", "pk").values_list("pk", flat=True)[:MOST]:
            undecided.append(signal_id)
            with one_of_many("signal", str(signal_id)), self._deciding:
                signal_accept(signal_id=signal_id, now=self.now(), undecided=undecided[:-1])
                undecided.pop()

    def send_queued(self) -> int:
        """Give every queued order to the broker, exits first; none while somebody has to sign in there."""
        queued = run(QUEUED, [self.account.pk, self.sends_from])
        if queued and queued[0][2]:
            orders_hold(account_id=self.account.pk, fence=self.fence)
        elif queued:
            self.give([(order_id, reason) for order_id, reason, _ in queued])
        return len(queued)

    def give(self, queued: Sequence[tuple[int, str]]) -> bool:
        """Let queued orders, by number and reason, be sent, unless they are under way already. False: this engine is
        about to end."""
        if self.dispatch is not None:
            by_class: dict[CallClass, list[int]] = {}
            for order_id, reason in queued:
                by_class.setdefault(class_of(reason), []).append(order_id)
            taken = [self.dispatch.give(order_ids, klass) for klass, order_ids in by_class.items()]
            return all(taken)
        order_ids = [order_id for order_id, _ in queued]
        for some in ([one] for one in order_ids) if self._paced else [order_ids]:
            orders_submit(
                order_ids=some, gateway=self.gateway, fence=self.fence, paced=self._paced,
                price_of=self.market.middle_of,
            )  # fmt: skip
        return True

    def _send(self, claims: Sequence[Claimed]) -> bool:
        """What was handed to this engine with its claim."""
        if self.dispatch is not None:
            return self.dispatch.put(claims)
        for one in claims:
            for some in orders_place([one], gateway=self.gateway, paced=True, price_of=self.market.middle_of):
                outcomes_record(some)
                self.handed.forget(outcome.token for outcome in some)
        return True

    def send_changes(self) -> int:
        """Carry out cancels and modifications that wait."""
        waiting = run(CHANGES, [self.account.pk])
        for (order_id,) in waiting:
            change = partial(order_change, order_id=order_id, gateway=self.gateway)
            if self.dispatch is not None:
                self.dispatch.do(order_id, change)
            else:
                change()
        return len(waiting)

    def sweep(self) -> None:
        """Do whatever waits in the rows, rung for or not. This is what makes a lost bell harmless."""
        now = self.now()
        self._decide()
        self.handed.find()
        ((queues, late_intents, late_orders),) = run(WAITING, {"account": self.account.pk, "wall": timezone.now()})
        for portfolio_id in queues:
            with one_of_many("queue", str(portfolio_id)):
                self._promote(portfolio_id)
        for intent_id in late_intents:
            approval_expire(intent_id=intent_id, now=now)
        for order_id in late_orders:
            lease_expired(order_id=order_id)
        self.advance_groups()
        self.send_queued()
        self.send_changes()

    def advance_groups(self) -> None:
        """One step of every trade that may have one to take; of those at rest some, in turns, and at first all."""
        now = self.now()
        found = run(TO_ADVANCE, {
            "account": self.account.pk, "patient": now - ENTRY_PATIENCE,
            "today": datetime.combine(exchange_date(now), time.min, tzinfo=IST),
        })  # fmt: skip
        resting = [group_id for group_id, rests in found if rests]
        if self._swept:
            resting = self._next_of(resting)
        self._swept = True
        looked_at = set(resting)
        for group_id, rests in found:
            if rests and group_id not in looked_at:
                continue
            with one_of_many("trade", str(group_id)):
                group_advance(group_id=group_id, now=self.now())
        self.watch_groups()

    def _next_of(self, resting: list[UUID]) -> list[UUID]:
        """Those after the one that was looked at last; then from the beginning."""
        in_turn = sorted(resting)
        start = bisect_right(in_turn, self._looked_at_last)
        chosen = (in_turn[start:] + in_turn[:start])[:RESTING_A_SWEEP]
        if chosen:
            self._looked_at_last = chosen[-1]
        return chosen

    def watch_groups(self) -> None:
        """Tell the market which targets and stops to watch."""
        self.market.guard(WATCHED.rows([self.account.pk]), WATCHED_PARTS.rows([self.account.pk]))

    def read_books(self) -> int:
        return read_books(account=self.account, gateway=self.gateway, now=self.now())

    def read_funds(self) -> BrokerFunds:
        return read_funds(account=self.account, gateway=self.gateway, now=self.now())

    def reconcile(self, cause: str) -> ReconRun:
        """Compare everything with the broker. See `execution.reconcile`."""
        return reconcile(account=self.account, gateway=self.gateway, now=self.now(), cause=cause)

    # -- keeping -----------------------------------------------------------------------------------------------------

    def keep_candles(self) -> datetime:
        """Store the bars that are over and say up to when all are there; rings the scanner when that is news."""
        now = self.now()
        bars = self.market.closed_bars(now)
        if bars:
            store_bars(self.feed, 1, bars, STREAM)
        return self.market.settled_minute(now)

    def say_candles_through(self, through: datetime) -> None:
        set_candles_through(self.feed.name, through)
        after_commit("strategies.scan_due")

    def fill_history(self, instruments: list[Instrument], *, start: datetime) -> None:
        """Fetch what is missing of the minutes from `start` to now: the past before the first tick, and every hole."""
        failed: dict[str, str] = {}
        for instrument in instruments:
            now = self.now()
            fetched = ensure_candles(self.feed, [instrument], 1, start, now, BrokerHistory(self.gateway), now=now)
            failed |= fetched.failed
        if failed:
            raise HistoryUnavailable("HISTORY_INCOMPLETE", f"no history of {len(failed)} instruments", **failed)

    def keep_rules_of_time(self) -> int:
        """What the clock, the limits and a pulled switch ask for: the rest of a kill, flat after a hard loss, a stop to
        what runs away, out of intraday before the close, the contract's last bar, nearer stops in a drawdown; winners
        that pay for a loser. None waits for one that fails."""
        now, asked = self.now(), 0
        for rule in rules_due(account_id=self.account.pk, now=now):
            with one_of_many("rules", f"{self.account.pk}:{rule.__name__}"):
                asked += rule(account_id=self.account.pk, now=now)
        return asked

    def value(self, portfolio: Portfolio) -> Valuation:
        """The worth of a portfolio at the engine's own prices; latches the locks and the drawdown step it calls for."""
        now = self.now()
        quotes = self.market.quotes()
        value = value_portfolio(portfolio, quotes=quotes, now=now)
        # Where a price is old the last one stands: a share that is locked at its band must not keep the day unlocked.
        if value.is_priced and not any(quotes[one.instrument.symbol].indicative for one in value.positions):
            policy = active_policy(portfolio.pk)
            latch_losses(portfolio=portfolio, value=value, policy=policy, now=now)
            watch_drawdown(portfolio=portfolio, equity_paise=value.equity_paise, policy=policy, now=now)
        return value

    def holders(self) -> set[int]:
        """Portfolios that hold something."""
        held = Position.objects.filter(portfolio__account=self.account).exclude(net_quantity=0)
        return set(held.values_list("portfolio", flat=True))

    def portfolios(self) -> list[Portfolio]:
        return list(Portfolio.objects.filter(account=self.account).select_related("account", "owner").order_by("pk"))


HISTORY_DAYS = timedelta(days=6)
"""How far back the minutes of a universe are fetched, so that every indicator has settled before the first signal."""
