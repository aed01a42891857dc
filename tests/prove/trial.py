"""One trade on a bad day, killed and taken up again: the desk lives in processes that die, the broker does not.

A script says what people and the market do. The desk walks it in a process of its own, which is killed at a named point
with SIGKILL; the next process takes it up where it stopped, and a person whose request was cut off asks again with the
same key. At the end the broker turns honest, time passes, and both sides are compared.
"""

import os
import random
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, connections
from django.utils import timezone

from execution.brokers.port import Tick
from execution.engine.account_engine import AccountEngine
from execution.engine.books import read_books
from execution.engine.lease import State, acquire, renew, set_state, this_process
from execution.engine_settings import publish_ladder, publish_settings, settings_of
from execution.models import EngineSettings, Group, Intent, OffsetPlan, Order, ParentOrder, ParkedFill, ReconRun
from execution.services.approval_decide import approval_decide
from execution.services.kill_switch_pull import kill_switch_pull
from execution.services.order_hand import Handed
from execution.services.order_ticket import order_ticket
from execution.services.override import close_position
from execution.services.parent_advance import parent_withdraw
from execution.services.parent_ask import large_order_ticket
from risk.drawdown_watch import watch_drawdown
from risk.kill_switch import of_portfolio
from risk.models import OrderRate
from risk.policies import active_policy, publish_policy
from strategies.contracts.publish import publish_library
from strategies.models import Signal
from tests.factories import DeploymentFactory, InstrumentFactory, PortfolioFactory, SignalFactory
from tests.factories.world import ELEVEN, house_policy, open_feed, quote
from tests.many_trades import OFFSETS
from tests.prove.door import Door, Request, alerts_of, orders_of
from tests.prove.line import Exchange, Line
from tests.prove.oracle import disagreements
from tests.prove.rough_broker import LONGEST_LAG, RoughBroker
from tests.prove.script_clock import ScriptClock, script_time
from trading.domain import crashpoint
from trading.domain.errors import TradingError
from trading.domain.fills import FillFact
from trading.domain.orders import OrderType, Product, Side
from trading.marketdata.models import Feed, Instrument
from trading.outbox import heard_here
from trading.portfolio.models import Portfolio

QUIET_TURNS = 60
HANDED = 0.7
"""Of the lives those in which somebody stands at the door, and is handed orders with their claim."""
STRIDE_S = 36
"""Wall seconds that pass between two turns of the end: rows are made older, so nobody waits. Five of them are the three
minutes that a proof takes, in which every book is read twelve times: later than the latest of them shows an order."""
COMPARED_EVERY = 2
"""Turns between two comparisons of everything: where time passes a turn is half a minute of an engine, which compares
once a minute. In between the books are read once more instead."""
BEAT_S = 1.0
"""A price of more than five seconds ago is stale, a lease of more than six is lost."""

Step = tuple[str, Any]
TakeProfit = EngineSettings.TakeProfit
WITH_PARTS = (TakeProfit.LEG, TakeProfit.HYBRID, TakeProfit.PYRAMID_AGGREGATE)
NEAR, FAR = "0.5", "2.5"
"""Percent of profit at which the whole, or a pyramid, is closed: before the legs' own targets, or behind them."""
CYCLES = {f"{kept} {way}": way for kept in ("watched", "resting") for way in TakeProfit.values}
"""One whole cycle in each way of taking profit: with a stop at the broker, beside which targets are watched, and
without one, where they rest there."""
MARKET = ("trade", "stop_hit", "by_hand", "part_ways", "run_off", "count", "tell")
"""Steps that happen at the exchange."""
Design = Callable[[], None]
"""Changes the code of one life: how a broken design is switched on. The product has none of them."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Die at this point, when it is passed for the `hit`-th time."""

    point: str
    hit: int = 1


@dataclass
class Outcome:
    """What a trial came to. `trouble` is empty when both sides agree and nothing is stuck."""

    killed: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    orders: int = 0
    fills: int = 0
    portfolio_id: int = 0


class Stage:
    """What all trials share: the feed, the contracts, the line to the broker."""

    def __init__(self, exchange: Exchange, *, feed: str) -> None:
        house_policy()
        self.exchange = exchange
        self.feed: Feed = open_feed(at=ELEVEN, name=feed)
        self.version = publish_library(actor="the proof")[0]
        self.number = 0


@dataclass
class World:
    """One trader, one account, one share, of which nobody else knows anything."""

    portfolio: Portfolio
    instrument: Instrument
    feed: Feed
    signal_id: Any = None
    other: Instrument | None = None  # of a ladder: the share whose alert waits for the slot; of an offset: the winner
    has_stop: bool = True  # of a ladder
    requests: Sequence[Request] = ()  # of programs, as they come to the door
    moves: bool = False  # the shares go where the script says, and do not stay where all began

    @classmethod
    def of(cls, stage: Stage, *, scenario: str) -> "World":
        stage.number += 1
        portfolio = PortfolioFactory(account__feed=stage.feed.name)
        world = cls(portfolio, InstrumentFactory(), stage.feed)
        if scenario == "approval":
            Portfolio.objects.filter(pk=portfolio.pk).update(approval_mode=Portfolio.ApprovalMode.MANUAL)
            portfolio.refresh_from_db()
        if scenario == "posted":
            world.other = InstrumentFactory()
            world.requests = orders_of(portfolio, [world.instrument, world.other])
        if scenario in ("ladder", "resting", "hooked") or scenario in CYCLES:
            world.other, world.has_stop = InstrumentFactory(), not scenario.startswith("resting")
            chosen: dict[str, object] = {"max_open_groups": 1}
            values = {"loss_streak": 0, "cooldown_min": 0, "daily_loss_soft_pct": "90", "daily_loss_hard_pct": "95"}
            if not world.has_stop:
                rungs = settings_of(portfolio.pk).ladder.rungs
                publish_ladder(
                    portfolio=portfolio, name="No stop", rungs=rungs, overrides={}, stop_pct=None, actor="the proof"
                )
                chosen["ladder"] = "No stop"
                values["stop_required"] = False
            publish_settings(portfolio=portfolio, values=chosen, actor="the proof")
            publish_policy(portfolio=portfolio, values=values, actor="the proof")
            if scenario == "hooked":
                world.requests = alerts_of(portfolio, [world.instrument, world.instrument, world.other])
        if scenario == "offset":
            world.other, world.moves = InstrumentFactory(), True
            publish_settings(portfolio=portfolio, values=OFFSETS, actor="the proof")
        world.moves |= scenario == "chase"
        if scenario in ("signal", "chase"):
            deployment = DeploymentFactory(portfolio=portfolio, version=stage.version)
            world.signal_id = SignalFactory(
                portfolio=portfolio, deployment=deployment, instrument=world.instrument, entry="812.35", stop="804.00",
                target="829.00", expires_at=timezone.now() + timedelta(minutes=5),
            ).pk  # fmt: skip
        return world


class Progress:
    """What the outside world remembers: how far the script is, and what was asked of the market. Beside the broker, in
    the process that is not killed."""

    def __init__(self, broker: RoughBroker, script: list[Step]) -> None:
        self.broker = broker
        self.script = script
        self.at = 0
        self.passed: Counter[str] = Counter()
        self.finished = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker, name)

    def next_step(self) -> Step | None:
        return self.script[self.at] if self.at < len(self.script) else None

    def done(self) -> None:
        self.at += 1

    def market(self, name: str, argument: Any) -> int:
        """A thing that happens at the exchange happens once, whether or not the desk hears of it."""
        self.at += 1
        return getattr(self.broker, name)(*argument)

    def where(self) -> dict[str, str]:
        return self.broker.priced

    def finish(self, passed: Counter[str]) -> None:
        self.passed.update(passed)
        self.finished = True


# -- the script --------------------------------------------------------------------------------------------------


def script_of(seed: str, *, scenario: str) -> list[Step]:
    """What people and the market do, the same for the same seed."""
    rng = random.Random(f"script:{seed}")
    if scenario in ("ladder", "resting", "hooked"):
        return _ladder_script(rng, about=seed.partition(".")[0])
    if scenario in CYCLES:
        return _cycle_script(CYCLES[scenario])
    if scenario == "offset":
        return _winner_and_loser(rng)
    if scenario == "chase":
        return _chase_script(rng)
    if scenario == "counted":
        return _counted_script(rng)
    if scenario == "posted":
        return [("post", None), *script_of(seed, scenario="trade")[1:]]
    if scenario == "approval":
        return [("ask_by_key", 10), ("turn", 1), ("approve", None), *script_of(seed, scenario="trade")[1:]]
    if scenario == "large":
        return _large_script(rng)
    if scenario == "defensive":
        return _defensive_script(rng)
    steps: list[Step] = [("signal", None)] if scenario == "signal" else [("ask", rng.choice([10, 10, 7]))]
    steps.append(("turn", rng.randint(1, 2)))
    if scenario == "kill" and rng.random() < 0.3:
        steps += [("kill", rng.choice([2, 3, 4])), ("turn", 1)]
    if scenario == "wait":
        steps += [("wait", 40), ("turn", 1)] * 8
    if scenario == "pieces":
        steps += [("trade", (0.4,)), ("turn", 4), ("trade", (0.5,)), ("turn", 4), ("trade", (1.0,)), ("turn", 3)]
    elif rng.random() < 0.9:
        for _ in range(rng.randint(1, 3)):
            steps += [("trade", (rng.choice([0.3, 0.5, 1.0]),)), ("turn", rng.randint(1, 3))]
    if scenario == "hand":
        steps += [("by_hand", rng.randint(1, 10)), ("turn", 2)]
    end = rng.random()
    if scenario == "kill":
        steps += [("kill", rng.choice([4, 4, 4, 3]))]
    elif end < 0.25:
        steps += [("stop_hit", (rng.choice([0.4, 1.0]),)), ("turn", 1)]
    steps += [("close", None), ("turn", rng.randint(1, 3))]
    if rng.random() < 0.5:
        steps += [("trade", (0.5,)), ("turn", 1)]
    return steps


def _counted_script(rng: random.Random) -> list[Step]:
    """The order book says how much traded, and the trade book says it later: while it is held, and while it is sold."""
    steps: list[Step] = [("ask", 10), ("turn", 2)]
    for _ in range(2):
        steps += [
            ("count", (rng.choice([0.4, 0.7]),)),
            ("look", None),
            ("trade", (rng.choice([0.5, 1.0]),)),
            ("turn", 1),
        ]
        steps += [("look", None), ("tell", ()), ("turn", 2)]
    steps += [("close", None), ("turn", 2), ("count", (0.6,)), ("look", None), ("turn", 1), ("tell", ()), ("turn", 1)]
    return [*steps, ("trade", (1.0,)), ("turn", 1)]


def _ladder_script(rng: random.Random, *, about: str) -> list[Step]:
    """Legs fill and profits are taken, a pyramid comes, another share's alert waits for the slot and gets it."""
    steps: list[Step] = [("alert", 0), ("turn", 2), ("trade", (rng.choice([0.5, 1.0]),)), ("turn", 3)]
    steps += [("alert", 1), ("turn", 1), ("tick", "821.00"), ("turn", rng.randint(2, 4))]
    steps += [("trade", (rng.choice([0.4, 1.0]),)), ("turn", 2), ("alert", 2), ("turn", 2)]
    if rng.random() < 0.5:
        steps += [("tick", "821.00"), ("turn", 2), ("trade", (0.5,)), ("turn", 1)]
    if rng.random() < 0.3:
        steps += [("stop_hit", (rng.choice([0.4, 1.0]),)), ("turn", 1)]
    steps += [("close", None), ("turn", 3), ("trade", (1.0,)), ("turn", 3), ("trade", (0.5,)), ("turn", 3)]
    # Every way of taking profit; in half of the trials it changes while the trade is held. Where a trial is about
    # parts the way has some, and the whole does not come before them; where it is about who waits for the slot, not
    # all of the trade is gone before somebody waits.
    ways = {"parts": WITH_PARTS, "pool": (TakeProfit.LEG, TakeProfit.HYBRID)}.get(about, tuple(TakeProfit))
    first, then = rng.choice(ways), rng.choice(ways)
    in_parts = about in ("parts", "pool")
    changed = [_mode(then, in_parts=in_parts)] if rng.random() < 0.5 else []
    return [_mode(first, in_parts=in_parts), *steps[:4], *changed, *steps[4:]]


def _mode(way: str, *, in_parts: bool = True) -> Step:
    return "mode", (way, FAR if in_parts and way == TakeProfit.HYBRID else NEAR)


def _cycle_script(way: str) -> list[Step]:
    """From an entry to the next one's: legs fill, profit is taken, the trade is closed, its slot goes to who waits."""
    steps: list[Step] = [_mode(way), ("alert", 0), ("turn", 2), ("trade", (0.5,)), ("turn", 2)]
    steps += [("trade", (1.0,)), ("turn", 3), ("alert", 2), ("turn", 1)]
    for _ in range(3):  # past the furthest of its targets
        steps += [("tick", "829.00"), ("turn", 2), ("trade", (1.0,)), ("turn", 2)]
    return [*steps, ("trade", (1.0,)), ("turn", 3), ("close", None), ("turn", 2)]


def _chase_script(rng: random.Random) -> list[Step]:
    """The market leaves an idea's entry behind, which follows it; some of it may fill between two steps."""
    steps: list[Step] = [("signal", None), ("turn", 3), ("run_off", "814.00")]
    for _ in range(2):
        steps += [("rest", 61), ("turn", rng.randint(2, 4))]
        if rng.random() < 0.5:
            steps += [("trade", (0.4,)), ("turn", 2)]
    steps += [("trade", (rng.choice([0.5, 1.0]),)), ("turn", 3)] if rng.random() < 0.7 else [("rest", 200), ("turn", 3)]
    return [*steps, ("close", None), ("turn", 2)]


def _large_script(rng: random.Random) -> list[Step]:
    """An iceberg whose tips fill one after the other, whole or in part; sometimes the rest is taken back."""
    steps: list[Step] = [("ask_large", 30), ("turn", 2)]
    for _ in range(4):
        steps += [("trade", (rng.choice([0.5, 1.0, 1.0]),)), ("turn", rng.randint(2, 3))]
    if rng.random() < 0.4:
        steps += [("take_back", None), ("turn", 2)]
    return [*steps, ("close", None), ("turn", 2)]


def _defensive_script(rng: random.Random) -> list[Step]:
    """Its portfolio turns defensive while a trade is held: the stop at the broker moves, and may be hit where it is."""
    steps: list[Step] = [("ask", 10), ("turn", 2), ("trade", (rng.choice([0.4, 1.0]),)), ("turn", 3)]
    steps += [("defend", None), ("turn", rng.randint(2, 4)), ("trade", (rng.choice([0.0, 0.5]),)), ("turn", 3)]
    if rng.random() < 0.4:
        steps += [("stop_hit", (rng.choice([0.4, 1.0]),)), ("turn", 2)]
    return [*steps, ("close", None), ("turn", 2)]


def _winner_and_loser(rng: random.Random) -> list[Step]:
    """Two trades; the shares part ways, and the one that wins pays for the other."""
    steps: list[Step] = [("ask", 10), ("ask_other", 10), ("turn", 2), ("trade", (1.0,)), ("turn", 4)]
    steps += [("trade", (1.0,)), ("turn", 3), ("part_ways", None), ("wait", 2), ("turn", 2)]
    for _ in range(4):
        steps += [("trade", (rng.choice([0.5, 1.0, 1.0]),)), ("turn", 3)]
    return [*steps, ("close", None), ("turn", 2)]


# -- a life ------------------------------------------------------------------------------------------------------


class Life:
    """The desk in one process, from its start to its end, or to its death."""

    def __init__(
        self, world: World, line: Line, now: datetime, *, luck: random.Random, patience: int = QUIET_TURNS,
        clock: ScriptClock | None = None,
    ) -> None:  # fmt: skip
        self.luck, self.is_handed = luck, luck.random() < HANDED
        self.brought: list[Handed] = []  # claims whose bell comes once more, or for the first time, a turn later
        self.patience = patience
        self.clock = clock
        self.world = world
        self.line = line
        self.now = now
        self.turns, self.beaten_at = 0, -BEAT_S
        self._door: Door | None = None
        self.account = world.portfolio.account
        fence = acquire(self.account.pk, this_process())
        if fence is None:
            raise RuntimeError("the lease of a process that was killed is not free")
        self.fence = fence
        self.engine = AccountEngine(
            account=self.account, feed=world.feed, gateway=line, fence=fence, now=lambda: self.now  # type: ignore[arg-type]
        )  # fmt: skip

    def run(self) -> None:
        """Every life begins by comparing, like an engine; books that are not believable yet are read again later."""
        with heard_here(self.account.pk, self.hear) if self.is_handed else nullcontext():
            self._run()

    def hear(self, name: str, ids: Mapping[str, Any]) -> bool:
        """A bell in this process. One that brings a claim is heard at once, then and later, or never: a sweep finds its
        row. All others find nobody: what they ring for waits in the rows for its turn."""
        if "claim" not in ids:
            return False
        handed, chance = Handed.read(ids), self.luck.random()
        if chance < 0.6:
            self.engine.handed.hear([handed])
        if chance > 0.3:
            self.brought.append(handed)
        if chance > 0.8:
            self.brought.clear()
        return True

    def hear_again(self) -> None:
        if self.is_handed:
            if self.luck.random() < 0.5:
                self.engine.handed.find(after_s=0.0)
            self.engine.handed.hear(self.brought)
            self.brought.clear()
            self.engine.handed.find(after_s=0.0)

    def _run(self) -> None:
        self.beat()
        self.engine.read_books()
        self.engine.reconcile(ReconRun.Cause.STARTUP)
        while (step := self.line.call("next_step")) is not None:
            self.beat()
            name, argument = step
            if name in MARKET:
                self.market(name, argument)
            else:
                getattr(self, name)(argument)
                self.line.call("done")
        self.come_to_rest()

    def beat(self) -> None:
        """A sign of life, and a fresh price: before the last ones are too old, and where prices move each time."""
        if self.clock is not None:
            self.clock.step()
        elif not self.world.moves and time.monotonic() - self.beaten_at < BEAT_S:
            return
        self.beaten_at = time.monotonic()
        renew(self.account.pk, self.fence)
        set_state(self.account.pk, self.fence, State.RUNNING)
        priced = self.line.call("where") if self.world.moves else {}
        for share in filter(None, (self.world.instrument, self.world.other)):
            quote(self.world.feed, share, priced.get(share.symbol, "812.35"))

    # -- people

    def ask(
        self, quantity: int, *, instrument: Instrument | None = None, source: Intent.Source = Intent.Source.PAGE
    ) -> None:
        asked = instrument or self.world.instrument
        if self.is_handed:
            all_turns_come(self.account.pk)
        order_ticket(
            user=self.account.owner, portfolio=self.world.portfolio, symbol=asked.symbol, side=Side.BUY,
            quantity=quantity, order_type=OrderType.LIMIT, limit_price=Decimal("812.35"), stop_price=Decimal("804.00"),
            target_price=None, product=Product.INTRADAY, source=source, now=self.now,
            idempotency_key="the other wish" if instrument else "the only wish",
        )  # fmt: skip

    def ask_other(self, quantity: int) -> None:
        self.ask(quantity, instrument=self.world.other)

    def ask_by_key(self, quantity: int) -> None:
        """A program asks, of a portfolio in which a person decides."""
        self.ask(quantity, source=Intent.Source.API)

    def approve(self, _: None) -> None:
        for intent_id in Intent.objects.filter(
            portfolio=self.world.portfolio, state=Intent.State.WAITING
        ).values_list("pk", flat=True):  # fmt: skip
            approval_decide(intent_id=intent_id, approve=True, actor="a person", now=self.now)

    def look(self, _: None) -> None:
        """The books are read by somebody who waits no longer for trades that the order book counts."""
        for _look in range(2):
            read_books(account=self.account, gateway=self.line, now=self.now, stand_in_after_s=0)  # type: ignore[arg-type]

    def ask_large(self, quantity: int) -> None:
        large_order_ticket(
            user=self.account.owner, portfolio=self.world.portfolio, symbol=self.world.instrument.symbol,
            side=Side.BUY, quantity=quantity, limit_price=Decimal("812.35"), stop_price=Decimal("804.00"),
            target_price=None, product=Product.INTRADAY, style="ICEBERG", minutes=0, slices=0, visible=10,
            source=Intent.Source.PAGE, now=self.now, idempotency_key="the large wish",
        )  # fmt: skip

    def take_back(self, _: None) -> None:
        for parent_id in ParentOrder.objects.filter(portfolio=self.world.portfolio).values_list("pk", flat=True):
            parent_withdraw(parent_id=parent_id, actor="a person", now=self.now)

    def wait(self, seconds: int) -> None:
        grow_older(self.account.pk, seconds)

    def rest(self, seconds: int) -> None:
        """Market time passes for what rests."""
        with connection.cursor() as cursor:
            cursor.execute(RESTED, {"by": timedelta(seconds=seconds), "account": self.account.pk})

    def signal(self, _: None) -> None:
        """It is in its row already: the sweep takes it up."""
        self.engine.sweep()

    def alert(self, number: int) -> None:
        """An alert of a hook; sent again after a death it is the same row. The third is for the other share."""
        if self.world.requests:
            self._by_hook(number)
            return
        wall = timezone.now()
        mine = {"portfolio": self.world.portfolio, "dedupe_key": f"hook:{self.world.portfolio.pk}:{number}"}
        defaults = {
            "instrument": self.world.other if number == 2 else self.world.instrument, "source": "HOOK",
            "side": Side.BUY, "entry": Decimal("812.35"), "quantity": 50,
            "stop": Decimal("790.00") if self.world.has_stop else None,
            "explanation": "An alert.", "bar_at": self.now, "created_at": wall,
            "expires_at": wall + timedelta(minutes=5),
        }  # fmt: skip
        signal, _ = Signal.objects.get_or_create(**mine, defaults=defaults)
        self.engine.answer("engine.signal", {"signal_id": str(signal.pk)})

    def post(self, _: None) -> None:
        """Programs ask for several shares at once, by the short way of orders."""
        self.door().knock(self.world.requests)

    def _by_hook(self, number: int) -> None:
        """The same alert twice at once, by the short way of alerts: one of them is a copy."""
        answers = self.door().knock([self.world.requests[number]] * 2)
        for signal_id in {one["id"] for answer in answers for one in answer.body["signals"]}:
            self.engine.answer("engine.signal", {"signal_id": signal_id})

    def door(self) -> Door:
        if self._door is None:
            self._door = Door()
        return self._door

    def defend(self, _: None) -> None:
        """So much was lost elsewhere; told again after a death it is the same loss."""
        policy = active_policy(self.world.portfolio.pk)
        for equity in (10_000_000, 8_400_000):
            watch_drawdown(
                portfolio=self.world.portfolio, equity_paise=equity, policy=policy, now=self.now + timedelta(minutes=1)
            )

    def mode(self, way: tuple[str, str]) -> None:
        """Another way of taking profit is in force from now on."""
        values = {"take_profit": way[0], "aggregate_target_pct": way[1]}
        publish_settings(portfolio=self.world.portfolio, values=values, actor="a person")

    def tick(self, price: str) -> None:
        self.engine.watch_groups()
        self.engine.hear_ticks([Tick(self.world.instrument.symbol, Decimal(price), 1000, self.now)])

    def close(self, _: None) -> None:
        for group_id in Group.objects.filter(portfolio=self.world.portfolio).values_list("pk", flat=True):
            close_position(group_id=group_id, actor="a person", now=self.now)

    def kill(self, level: int) -> None:
        kill_switch_pull(
            scope=of_portfolio(self.world.portfolio), level=level, reason="the proof", actor="a person", now=self.now
        )

    # -- the market

    def market(self, name: str, argument: Any) -> None:
        if name == "run_off":
            name, argument = "part_ways", ({self.world.instrument.symbol: argument},)
        if name == "part_ways" and self.world.other is not None:
            argument = ({self.world.instrument.symbol: "760.00", self.world.other.symbol: "900.00"},)
        self.line.call("market", name, (self.world.instrument.symbol, argument) if name == "by_hand" else argument)

    # -- the desk

    def turn(self, times: int) -> None:
        for _ in range(times):
            self.beat()
            self.hear_again()
            self.engine.sweep()
            for one in self.line.call("news"):
                if isinstance(one, FillFact):
                    self.engine.hear_fill(one)
                else:
                    self.engine.hear_order(one)
            self.engine.read_books()
        self.engine.keep_rules_of_time()
        self.turns += 1
        if self.turns % COMPARED_EVERY == 0:
            self.engine.reconcile(ReconRun.Cause.PERIODIC)
        else:
            self.engine.read_books()

    def come_to_rest(self) -> None:
        """The broker is honest from here on, everything that rests trades, and time passes until nothing is left."""
        self.line.call("calm")
        for _ in range(self.patience):
            if self.is_quiet():
                return
            self.turn(1)
            if self.world.other is not None:
                self.close(None)  # whatever got the slot meanwhile
            self.line.call("trade", 1.0)
            grow_older(self.account.pk, STRIDE_S)

    def is_quiet(self) -> bool:
        mine = {"portfolio": self.world.portfolio}
        return not (
            Order.objects.filter(**mine).live().exists()
            or Group.objects.filter(**mine).exclude(state=Group.State.CLOSED).exists()
            or Signal.objects.filter(**mine, state__in=[Signal.State.NEW, Signal.State.QUEUED]).exists()
            or OffsetPlan.objects.filter(**mine, state__in=OffsetPlan.LIVE).exists()
            or ParentOrder.objects.filter(**mine, state=ParentOrder.State.LIVE).exists()
            or ParkedFill.objects.filter(account=self.account, drained_at=None).exists()
        )


OLDER = """
UPDATE execution_order SET created_at = created_at - %(by)s, sent_at = sent_at - %(by)s, acked_at = acked_at - %(by)s,
    lease_expires_at = lease_expires_at - %(by)s, unknown_since = unknown_since - %(by)s,
    next_probe_at = next_probe_at - %(by)s, cancel_asked_at = cancel_asked_at - %(by)s,
    valid_until = valid_until - %(by)s
WHERE account_id = %(account)s;
UPDATE execution_partexit SET asked_at = asked_at - %(by)s, created_at = created_at - %(by)s WHERE group_id IN (
    SELECT g.id FROM execution_group g JOIN portfolio_portfolio p ON p.id = g.portfolio_id
    WHERE p.account_id = %(account)s);
UPDATE execution_leg SET retry_at = retry_at - %(by)s WHERE pyramid_id IN (
    SELECT y.id FROM execution_pyramid y JOIN execution_group g ON g.id = y.group_id
    JOIN portfolio_portfolio p ON p.id = g.portfolio_id WHERE p.account_id = %(account)s);
UPDATE execution_intent SET created_at = created_at - %(by)s, decide_by = decide_by - %(by)s
WHERE portfolio_id IN (SELECT id FROM portfolio_portfolio WHERE account_id = %(account)s);
UPDATE execution_offsetplan SET created_at = created_at - %(by)s, step_at = step_at - %(by)s
WHERE portfolio_id IN (SELECT id FROM portfolio_portfolio WHERE account_id = %(account)s);
UPDATE execution_offsetwatch SET looked_at = looked_at - %(by)s
WHERE portfolio_id IN (SELECT id FROM portfolio_portfolio WHERE account_id = %(account)s)
"""


def all_turns_come(account_id: int) -> None:
    """The account's rate as after a pause: it has ordered before, and its places are free."""
    for name in ("order", "shared"):
        OrderRate.objects.update_or_create(
            account_id=account_id, call_class=name, defaults={"next_free_at": timezone.now() - timedelta(hours=1)}
        )


RESTED = """
UPDATE execution_order SET placed_at = placed_at - %(by)s WHERE account_id = %(account)s;
UPDATE execution_chasestep SET venue_at = venue_at - %(by)s
WHERE order_id IN (SELECT id FROM execution_order WHERE account_id = %(account)s)
"""


def grow_older(account_id: int, seconds: float) -> None:
    """Let wall time pass for the rows of one account: leases run out, patience ends."""
    with connection.cursor() as cursor:
        cursor.execute(OLDER, {"by": timedelta(seconds=seconds), "account": account_id})


# -- lives and deaths --------------------------------------------------------------------------------------------


def run_trial(
    stage: Stage, *, seed: str, scenario: str = "trade", kills: tuple[Kill, ...] = (), design: Design | None = None,
    roughness: float = 0.5, lag: int = LONGEST_LAG, answer: object = None, patience: int = QUIET_TURNS,
    doubts: tuple[object, ...] = (), clock: ScriptClock | None = None,
) -> Outcome:  # fmt: skip
    """Walk one script to its end, dying at each of the kills in turn, and compare both sides.

    `clock` goes on with the script, whatever the machine is busy with (`trial_by_script`).
    `answer` is what the entry gets from the broker, whatever the seed would have given it.
    """
    outcome = Outcome()
    world = World.of(stage, scenario=scenario)
    outcome.portfolio_id = world.portfolio.pk
    broker = RoughBroker(at=ELEVEN, seed=seed, roughness=roughness, lag=lag, doubts=doubts)
    if answer is not None:
        broker.answers.append(answer)
        broker.tagless = True
    progress = Progress(broker, script_of(seed, scenario=scenario))
    stage.exchange.served = progress
    connections.close_all()  # a connection must not be shared by a fork
    for number, kill in enumerate((*kills, None)):
        outcome.lives += 1
        luck = random.Random(f"{seed}:life:{number}")
        died = _live(stage, world, kill, design, patience, clock, luck)
        if died == "killed" and kill is not None:
            outcome.killed.append(kill.point)
            continue
        if died:
            outcome.trouble.append(died)
        break
    outcome.passed, outcome.orders, outcome.fills = progress.passed, len(broker.requests), len(broker.facts)
    if not progress.finished and not outcome.trouble:
        outcome.trouble.append("the last life did not come to its end")
    outcome.trouble += disagreements(world.portfolio, broker.truth(), by_hand=scenario == "hand")
    return outcome


def trial_by_script(stage: Stage, *, seed: str, scenario: str, begins_at: datetime) -> Outcome:
    """A trial without a death, whose world is made and walked by a clock that begins there and goes on step by step."""
    with script_time(stage.feed.name, begins_at) as clock:
        return run_trial(stage, seed=seed, scenario=scenario, clock=clock)


def _live(
    stage: Stage, world: World, kill: Kill | None, design: Design | None, patience: int, clock: ScriptClock | None,
    luck: random.Random,
) -> str:  # fmt: skip
    """Fork, live, wait. Empty: it came to its end; "killed"; or what went wrong."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(stage, world, kill, design, patience, clock, luck, writer)
    os.close(writer)
    with os.fdopen(reader) as said:
        trouble = said.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return "killed"
    return trouble or ("" if os.waitstatus_to_exitcode(status) == 0 else f"ended with {status}")


def _child(
    stage: Stage, world: World, kill: Kill | None, design: Design | None, patience: int, clock: ScriptClock | None,
    luck: random.Random, writer: int,
) -> None:  # fmt: skip
    passed: Counter[str] = Counter()

    def pass_point(name: str) -> None:
        passed[name] += 1
        if kill is not None and name == kill.point and passed[name] == kill.hit:
            os.kill(os.getpid(), signal.SIGKILL)

    code = 0
    try:
        threading.excepthook = lambda _: None
        if design is not None:
            design()
        crashpoint.arm(pass_point)
        line = Line(stage.exchange.address)
        Life(world, line, ELEVEN, luck=luck, patience=patience, clock=clock).run()
        line.call("finish", passed)
    except TradingError as error:
        os.write(writer, f"{error.code}: {error.message}".encode())
        code = 1
    except BaseException:
        os.write(writer, traceback.format_exc()[-2000:].encode())
        code = 1
    finally:
        connections.close_all()
        os._exit(code)
