"""The exchange itself: sessions, orders, trades, money. Synchronous and free of I/O but for its journal.

Every public command ends in `commit`: the journal line is on the disk before a caller gets his answer and before
any subscriber hears of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from execution.sandbox.accounts import CNC, INTRADAY, Account, Position, Trade
from execution.sandbox.calendar import ist, session_hours
from execution.sandbox.journal import Journal, JournalError
from execution.sandbox.market import Market, Quote
from execution.sandbox.order_book import (
    CANCELLED,
    EXPIRED,
    FILLED,
    LIMIT,
    MARKET,
    PENDING,
    REJECTED,
    STOP,
    STOP_LIMIT,
    Execution,
    Order,
    OrderBook,
)
from execution.sandbox.triggers import CANCELLED as TRIGGER_CANCELLED
from execution.sandbox.triggers import EXPIRED as TRIGGER_EXPIRED
from execution.sandbox.triggers import TRIGGERED, YEAR_S, Leg, Trigger, TriggerShelf, legs_of
from execution.sandbox.virtual_clock import VenueClock

CLOSING_S = 300  # virtual seconds between the end of continuous trading and the jump to the next session
PREOPEN_S = 900
MARKET_PROTECTION_PCT = 1.5
CHEAP_PAISE, CHEAP_BAND_PAISE = 5_000, 75  # at or below Rs 50 the band is 75 paise
SYSTEM_TAG = "2:AutoSquareOff"
TRIGGER_TAG = "2:GTT"


class Refused(Exception):
    """The exchange says no. `code` as in the protocol; `order_id` if the refusal is in the book."""

    def __init__(self, code: int, message: str, *, order_id: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.order_id = code, message, order_id


@dataclass(frozen=True)
class Ticket:
    """A checked order request. Prices in paise, 0 where the type has none."""

    symbol: str
    side: int
    qty: int
    type: int
    product: str
    validity: str
    limit: int
    stop: int
    tag: str
    disclosed: int = 0


@dataclass(frozen=True)
class Margins:
    """Paise. `blocked` by what is live, `together` and `each` what a basket would block beside it."""

    available: float
    blocked: float
    together: float
    each: tuple[float, ...]


@dataclass(frozen=True)
class Event:
    """Something one user's order socket is told: `kind` is orders, trades or positions."""

    user: str
    kind: str
    subject: Any


class Exchange:
    """One market, many users. `publish` receives events after they are on the disk, in the order they happened."""

    def __init__(self, *, market: Market, journal: Journal, publish: Callable[[list[Event]], None]) -> None:
        self.market = market
        self.journal = journal
        self.publish = publish
        self.accounts: dict[str, Account] = {}
        self.orders: dict[str, Order] = {}
        self.trades: list[Trade] = []
        self.books: dict[str, OrderBook] = {}
        self.triggers = TriggerShelf()
        self.logouts: dict[str, int] = {}
        self.sequence = 0
        self.priority = 0
        self.tick = -1
        self.ended = False
        self.asked_speed = 0.0
        self.clock: VenueClock
        self._changed: dict[str, Order] = {}
        self._new_trades: list[Trade] = []
        self._events: list[Event] = []

    # -- beginning ----------------------------------------------------------------------------------------------

    def start(
        self,
        *,
        cash: dict[str, int],
        start_at: float,
        start_day: date,
        speed: float,
        stepped: bool,
        first_number: int,
        wall: float,
    ) -> None:
        """Go on from the journal, or begin a new history with `cash` paise per user.

        JournalError if the state folder holds another market.
        """
        records = list(self.journal.read())
        self.asked_speed = speed
        if records:
            self._restore(records, speed=speed, stepped=stepped, wall=wall)
        else:
            day = self.market.first_day(start_day)
            session = self.market.open(day)
            venue = start_at if day == start_day else float(session.opens_at)
            self.clock = VenueClock(wall=wall, venue=min(venue, session.closes_at - 1), speed=speed, stepped=stepped)
            if stepped:
                self.clock.set_to(session.opens_at - 1.0, wall=wall)  # before the first tick
            self.sequence = first_number
            self.tick = -1 if stepped else session.tick_at(self.clock.at(wall))
        self.clock.limit = float(self.market.running.closes_at + CLOSING_S)
        for user, amount in cash.items():
            self.accounts.setdefault(user, Account(user, amount))
        self._compact(wall)

    def _identity(self) -> dict[str, Any]:
        replay = self.market.replay
        return {"seed": self.market.seed, "replay": replay.session.day.isoformat() if replay else None}

    def _compact(self, wall: float) -> None:
        self.journal.replace(
            {
                "k": "snapshot",
                "of": self._identity(),
                "day": self.market.running.day.isoformat(),
                "v": self.clock.at(wall),
                "t": self.tick,
                "speed": self.clock.speed,
                "asked": self.asked_speed,
                "ended": self.ended,
                "seq": self.sequence,
                "prio": self.priority,
                "logouts": self.logouts,
                "accounts": [{"user": a.user, "cash": a.cash, "holdings": a.holdings} for a in self.accounts.values()],
                "orders": [asdict(order) for order in self.orders.values()],
                "trades": [asdict(trade) for trade in self.trades],
                "triggers": self.triggers.rows(self.triggers.all),
            }
        )

    def _restore(self, records: list[dict[str, Any]], *, speed: float, stepped: bool, wall: float) -> None:
        first = records[0]
        if first.get("k") != "snapshot":
            raise JournalError(f"{self.journal.path} does not begin with a snapshot")
        if first["of"] != self._identity():
            raise JournalError(
                f"{self.journal.path.parent} holds another market ({first['of']}): choose another folder"
            )
        self.accounts = {a["user"]: Account(a["user"], a["cash"], a["holdings"]) for a in first["accounts"]}
        self.sequence, self.priority, self.ended, self.logouts = (
            first["seq"],
            first["prio"],
            first["ended"],
            first["logouts"],
        )
        kept_speed, venue, self.tick = first["speed"], first["v"], first["t"]
        for record in records:
            for row in record.get("orders", ()):
                self.orders[row["id"]] = Order(**row)
            self.trades.extend(Trade(**row) for row in record.get("trades", ()))
            self.triggers.restore(record.get("triggers", ()))
            venue, self.tick = record.get("v", venue), record.get("t", self.tick)
            self.sequence, self.priority = record.get("seq", self.sequence), record.get("prio", self.priority)
            kept_speed, self.ended = record.get("speed", kept_speed), record.get("ended", self.ended)
            self.logouts = record.get("logouts", self.logouts)
            for order_id, (ahead, passive) in record.get("q", {}).items():
                self.orders[order_id].queue_ahead, self.orders[order_id].passive = ahead, passive
        self.market.open(date.fromisoformat(first["day"]))
        for trade in self.trades:
            self.accounts[trade.user].position(trade.symbol, trade.product).add(trade)
        for order in sorted(self.orders.values(), key=lambda o: o.priority):
            if order.is_live:
                self.book(order.symbol).restore(order)
        keeps = (
            first["asked"] == speed
        )  # a speed set while running outlives a restart, unless another one is asked for now
        self.clock = VenueClock(wall=wall, venue=venue, speed=kept_speed if keeps else speed, stepped=stepped)

    # -- time ---------------------------------------------------------------------------------------------------

    def phase(self, venue: float) -> str:
        session = self.market.running
        if venue < session.opens_at:
            return "PREOPEN" if venue >= session.opens_at - PREOPEN_S else "CLOSED"
        if venue < session.closes_at and not self.ended:
            return "CONTINUOUS"
        return "CLOSING" if venue < session.closes_at + CLOSING_S else "CLOSED"

    def advance(self, wall: float) -> None:
        """Bring the market to the present: match every tick on the way, end and begin sessions."""
        venue = self.clock.at(wall)
        session = self.market.running
        target = session.tick_at(min(venue, session.closes_at - 1))
        self._match_to(target)
        if venue >= session.closes_at and not self.ended:
            self._end_session()
        self.commit(venue)
        if self.clock.limit is not None and venue >= self.clock.limit:
            self._next_session(wall)

    def next_instant(self) -> float | None:
        """Venue time of the next thing to happen; None if nothing ever will."""
        session = self.market.running
        if self.tick + 1 < len(session.instants):
            return float(session.instants[self.tick + 1])
        if not self.ended:
            return float(session.closes_at)
        return self.clock.limit if self.market.day_after(session.day) else None

    def step(self, wall: float) -> bool:
        """Stepped mode: go to the next instant, over the close into the next session. False when all is done."""
        session = self.market.running
        if self.tick + 1 < len(session.instants):
            self.clock.set_to(float(session.instants[self.tick + 1]), wall=wall)
            self.advance(wall)
            return True
        if not self.ended:
            self.clock.set_to(float(session.closes_at), wall=wall)
            self.advance(wall)
            return self.market.day_after(session.day) is not None
        if self.market.day_after(session.day) is None:
            return False
        self._next_session(wall)
        return self.step(wall)

    def persist_clock(self, wall: float) -> None:
        """Remember the instant and the queues, so that a killed exchange goes on from here."""
        queues = {o.id: [o.queue_ahead, o.passive] for book in self.books.values() for o in book.live}
        self.journal.append(
            {"k": "clock", "v": self.clock.at(wall), "t": self.tick, "speed": self.clock.speed, "q": queues}
        )

    def _match_to(self, target: int) -> None:
        while self.tick < target:
            active = [(symbol, book) for symbol, book in self.books.items() if book]
            waiting = self.triggers.waiting()
            if not active and not waiting:
                self.tick = target
                for book in self.books.values():
                    book.forget_display()
                return
            self.tick += 1
            for symbol, book in active:
                self._match_tick(symbol, book)
            for trigger in waiting:
                self._look_at_trigger(trigger)

    def _match_tick(self, symbol: str, book: OrderBook) -> None:
        tape = self.market.running.names[symbol]
        if not tape.traded_at(self.tick):
            book.forget_display()
            return
        sleeping = {order.id for order in book.stops}
        last, volume = int(tape.price[self.tick]), int(tape.volume[self.tick])
        for order in book.stops:
            if order.type == STOP and order.side * (last - order.stop) >= 0:
                order.working_limit = self._protected(order.symbol, order.side, last)
        for done in book.tick(last=last, volume=volume, depth=self.market.depth(symbol, self.tick)):
            if done.order.id in sleeping and done.order.triggered:
                sleeping.discard(done.order.id)
                self._note(done.order)
            self.book_execution(done)
        for order in [o for o in book.live if o.id in sleeping]:  # woke without trading
            self._note(order)
        for order in [
            o
            for o in self._changed.values()
            if o.symbol == symbol and o.is_live and o.triggered and o.validity == "IOC"
        ]:
            self.end_order(order, CANCELLED, "IOC remainder cancelled")

    def _look_at_trigger(self, trigger: Trigger) -> None:
        """Place what a trigger waits with, once its price was traded."""
        tape = self.market.running.names[trigger.symbol]
        at = None if not tape.traded_at(self.tick) else trigger.reached(int(tape.price[self.tick]))
        if at is None or not trigger.is_active:
            return
        leg = trigger.legs[at]
        trigger.end(TRIGGERED, self._now())
        trigger.fired = at
        ticket = Ticket(
            trigger.symbol, trigger.side, leg.qty, LIMIT, trigger.product, "DAY", leg.limit, 0, TRIGGER_TAG
        )  # fmt: skip
        order = self._new_order(trigger.user, ticket)
        trigger.order_id = order.id
        order.working_limit = leg.limit
        try:
            self._check_risk(order)
        except Refused as refusal:
            order.status = REJECTED
            order.message = trigger.message = refusal.message
            self._note(order)
        else:
            self._note(order)
            self._admit(order)
        self.triggers.note(trigger)

    def _end_session(self) -> None:
        """Day orders expire; the broker squares off what is still open intraday, at the last price."""
        self.ended = True
        for order in [o for o in self.orders.values() if o.is_live]:
            self.end_order(order, EXPIRED, "Order expired at the end of the session")
        for account in self.accounts.values():
            for position in [p for p in account.positions.values() if p.product == INTRADAY and p.net]:
                self.square_off(account.user, position)

    def square_off(self, user: str, position: Position) -> str:
        """The broker closes an intraday position at the last price; the number of its order. To be committed."""
        last = self.quote(position.symbol).last
        ticket = Ticket(position.symbol, -position.side, abs(position.net), MARKET, INTRADAY, "DAY", 0, 0, SYSTEM_TAG)
        order = self._new_order(user, ticket)
        order.source = "A"
        order.working_limit = last
        self._note(order)
        order.filled, order.value, order.status = order.qty, order.qty * last, FILLED
        self.book_execution(Execution(order, order.qty, last))
        return order.id

    def _next_session(self, wall: float) -> None:
        day = self.market.day_after(self.market.running.day)
        if day is None:
            return
        for account in self.accounts.values():
            account.settle_day()
        self.orders.clear()
        self.trades.clear()
        self.books.clear()
        session = self.market.open(day)
        for trigger in self.triggers.waiting():
            if session.opens_at > trigger.created_at + YEAR_S:
                trigger.end(TRIGGER_EXPIRED, float(session.opens_at), "One year has passed")
        self.clock.set_to(session.opens_at - (1.0 if self.clock.stepped else 0.0), wall=wall)
        self.clock.limit = float(session.closes_at + CLOSING_S)
        self.tick, self.ended = (-1 if self.clock.stepped else 0), False
        self._compact(wall)

    # -- looking ------------------------------------------------------------------------------------------------

    def quote(self, symbol: str) -> Quote:
        return self.market.quote(symbol, self.tick)

    def book(self, symbol: str) -> OrderBook:
        return self.books.setdefault(symbol, OrderBook())

    def orders_of(self, user: str) -> list[Order]:
        return [order for order in self.orders.values() if order.user == user]

    def live_of(self, user: str) -> list[Order]:
        return [order for order in self.orders.values() if order.user == user and order.is_live]

    def trades_of(self, user: str) -> list[Trade]:
        return [trade for trade in self.trades if trade.user == user]

    # -- commands -----------------------------------------------------------------------------------------------

    def place(self, user: str, ticket: Ticket, wall: float) -> Order:
        """Admit an order and match it at once. Refused if the ticket cannot be accepted."""
        self.advance(wall)
        venue = self.clock.at(wall)
        self._check_open(venue)
        self._check_prices(ticket.symbol, ticket.type, ticket.side, ticket.limit, ticket.stop)
        order = self._new_order(user, ticket)
        order.working_limit = self._working_limit(order)
        try:
            self._check_risk(order)
        except Refused as refusal:
            order.status, order.message = REJECTED, refusal.message
            self._note(order)
            self.commit(venue)
            raise Refused(refusal.code, refusal.message, order_id=order.id) from None
        self._note(order)
        self._admit(order)
        self.commit(venue)
        return order

    def modify(self, user: str, order_id: str, changes: dict[str, int], wall: float) -> Order:
        """Change qty, type, limit or stop (paise) of a live order. Anything but less quantity costs its place."""
        self.advance(wall)
        order = self._live(user, order_id)
        venue = self.clock.at(wall)
        self._check_open(venue)
        wanted = {"qty": order.qty, "type": order.type, "limit": order.limit, "stop": order.stop, **changes}
        if order.triggered and wanted["type"] in (STOP, STOP_LIMIT) and order.type not in (STOP, STOP_LIMIT):
            raise Refused(-50, "a working order cannot become a stop order")
        if wanted["qty"] <= order.filled:
            raise Refused(-50, f"qty must be more than the {order.filled} already traded")
        if wanted["type"] in (LIMIT, MARKET):
            wanted["stop"] = 0
        if wanted["type"] in (MARKET, STOP):
            wanted["limit"] = 0
        as_type = LIMIT if order.triggered and wanted["type"] == STOP_LIMIT else wanted["type"]
        if not (order.triggered and as_type == STOP):
            self._check_prices(order.symbol, as_type, order.side, wanted["limit"], wanted["stop"])
        before = Order(**asdict(order))
        book = self.book(order.symbol)
        keeps_place = wanted["qty"] <= order.qty and all(
            wanted[k] == getattr(order, k) for k in ("type", "limit", "stop")
        )
        order.qty, order.type, order.limit, order.stop = wanted["qty"], wanted["type"], wanted["limit"], wanted["stop"]
        if not keeps_place:
            order.triggered = before.triggered or wanted["type"] in (LIMIT, MARKET)
            order.working_limit = self._working_limit(order)
        try:
            self._check_risk(order)
        except Refused:
            for name in ("qty", "type", "limit", "stop", "triggered", "working_limit"):
                setattr(order, name, getattr(before, name))
            raise
        self._note(order)
        if not keeps_place:
            book.remove(order)
            self.priority += 1
            order.priority, order.passive, order.queue_ahead = self.priority, False, 0
            self._admit(order)
        self.commit(venue)
        return order

    def cancel(self, user: str, order_id: str, wall: float) -> Order:
        self.advance(wall)
        order = self._live(user, order_id)
        self.end_order(order, CANCELLED, "Order cancelled by the user")
        self.commit(self.clock.at(wall))
        return order

    def margin_of(self, user: str, tickets: list[Ticket]) -> Margins:
        """What these orders would block if they came now, beside all that is live. Nothing is kept of it."""
        account, live = self.accounts[user], self.live_of(user)
        before = account.blocked(live)
        drafts = [self._draft(user, ticket, str(at)) for at, ticket in enumerate(tickets)]
        for draft in drafts:
            draft.working_limit = self._working_limit(draft)
        return Margins(
            available=account.cash + account.realised() - before,
            blocked=before,
            together=account.blocked([*live, *drafts]) - before,
            each=tuple(account.blocked([*live, draft]) - before for draft in drafts),
        )

    # -- triggers -----------------------------------------------------------------------------------------------

    def place_trigger(
        self, user: str, *, symbol: str, side: int, product: str, legs: list[tuple[int, int, int]], wall: float
    ) -> Trigger:  # fmt: skip
        """Keep an order for later: legs of (trigger, limit, qty), paise. At any hour. Refused as an order would be."""
        self.advance(wall)
        venue, last = self.clock.at(wall), self.quote(symbol).last
        if product != CNC:
            raise Refused(-50, "only CNC orders may wait for a price")
        trigger = self.triggers.add(
            user=user, symbol=symbol, side=side, product=product, legs=self._legs(symbol, last, legs), last=last,
            created_at=venue, updated_at=venue,
        )  # fmt: skip
        self.commit(venue)
        return trigger

    def change_trigger(self, user: str, trigger_id: int, legs: list[tuple[int, int, int]], wall: float) -> Trigger:
        self.advance(wall)
        trigger, venue = self._waiting(user, trigger_id), self.clock.at(wall)
        last = self.quote(trigger.symbol).last
        if len(legs) != len(trigger.legs):
            raise Refused(-50, "a trigger keeps its number of legs")
        trigger.legs, trigger.last, trigger.updated_at = self._legs(trigger.symbol, last, legs), last, venue
        self.triggers.note(trigger)
        self.commit(venue)
        return trigger

    def cancel_trigger(self, user: str, trigger_id: int, wall: float) -> Trigger:
        self.advance(wall)
        trigger, venue = self._waiting(user, trigger_id), self.clock.at(wall)
        trigger.end(TRIGGER_CANCELLED, venue)
        self.triggers.note(trigger)
        self.commit(venue)
        return trigger

    def _legs(self, symbol: str, last: int, wanted: list[tuple[int, int, int]]) -> list[Leg]:
        tick = self.market.listings[symbol].tick_paise
        for trigger, limit, qty in wanted:
            if min(trigger, limit, qty) <= 0 or trigger % tick or limit % tick:
                raise Refused(-50, f"prices must be multiples of tick size {tick / 100:.4f}, quantities positive")
        try:
            return legs_of(last, wanted)
        except ValueError as error:
            raise Refused(-50, str(error)) from error

    def _waiting(self, user: str, trigger_id: int) -> Trigger:
        trigger = self.triggers.all.get(trigger_id)
        if trigger is None or trigger.user != user:
            raise Refused(-51, "invalid order id")
        if not trigger.is_active:
            raise Refused(-99, f"the trigger is already {trigger.status}")
        return trigger

    def log_out(self, app_id: str) -> None:
        """Make every token of this app worthless."""
        self.logouts = {**self.logouts, app_id: self.logouts.get(app_id, 0) + 1}
        self.journal.append({"k": "logout", "logouts": self.logouts})

    def set_speed(self, speed: float, wall: float) -> None:
        self.clock.set_speed(speed, wall=wall)
        self.persist_clock(wall)

    # -- inside -------------------------------------------------------------------------------------------------

    def _new_order(self, user: str, ticket: Ticket) -> Order:
        self.sequence += 1
        self.priority += 1
        return self._draft(user, ticket, f"{self.market.running.day:%y%m%d}{self.sequence % 100_000_000:08d}")

    def _draft(self, user: str, ticket: Ticket, order_id: str) -> Order:
        order = Order(
            id=order_id,
            user=user,
            symbol=ticket.symbol,
            side=ticket.side,
            qty=ticket.qty,
            type=ticket.type,
            product=ticket.product,
            validity=ticket.validity,
            limit=ticket.limit,
            stop=ticket.stop,
            tag=ticket.tag,
            status=PENDING,
            placed_at=self._now(),
            priority=self.priority,
            disclosed=ticket.disclosed,
            triggered=ticket.type in (LIMIT, MARKET),
        )
        order.updated_at = order.placed_at
        return order

    def _now(self) -> float:
        """Venue time of the tick being matched: what the exchange stamps on paper."""
        session = self.market.running
        if self.ended:
            return float(session.closes_at)
        return float(session.instants[self.tick]) if self.tick >= 0 else float(session.opens_at)

    def _admit(self, order: Order) -> None:
        for done in self.book(order.symbol).add(order, self.market.depth(order.symbol, self.tick)):
            self.book_execution(done)
        if order.is_live and order.triggered and order.validity == "IOC":
            self.end_order(order, CANCELLED, "IOC remainder cancelled")

    def book_execution(self, done: Execution) -> None:
        order = done.order
        order.trades += 1
        trade = Trade(
            f"{order.id}-{order.trades}",
            order.id,
            order.user,
            order.symbol,
            order.side,
            done.qty,
            done.price,
            order.product,
            order.type,
            order.tag,
            self._now(),
        )
        self.trades.append(trade)
        self._new_trades.append(trade)
        position = self.accounts[order.user].position(order.symbol, order.product)
        position.add(trade)
        self._events.append(Event(order.user, "trades", trade))
        self._note(order)
        self._events.append(Event(order.user, "positions", position))

    def _note(self, order: Order) -> None:
        order.updated_at = self._now()
        self.orders[order.id] = order
        self._changed[order.id] = order
        self._events.append(Event(order.user, "orders", Order(**asdict(order))))

    def end_order(self, order: Order, status: int, message: str) -> None:
        self.book(order.symbol).remove(order)
        order.status, order.message = status, message
        self._note(order)

    def commit(self, venue: float) -> None:
        """Write what changed, then tell the world. Nothing changed: nothing written."""
        if not self._events and not self._changed and not self.triggers.changed:
            return
        events, self._events = self._events, []
        self.journal.append(
            {
                "k": "tx",
                "v": venue,
                "t": self.tick,
                "seq": self.sequence,
                "prio": self.priority,
                "ended": self.ended,
                "orders": [asdict(order) for order in self._changed.values()],
                "trades": [asdict(trade) for trade in self._new_trades],
                "triggers": self.triggers.rows(self.triggers.changed),
            }
        )
        self._changed, self._new_trades, self.triggers.changed = {}, [], {}
        self.publish(events)

    def _live(self, user: str, order_id: str) -> Order:
        order = self.orders.get(order_id)
        if order is None or order.user != user:
            raise Refused(-51, "invalid order id")
        if not order.is_live:
            word = {CANCELLED: "cancelled", FILLED: "traded", REJECTED: "rejected", EXPIRED: "expired"}[order.status]
            raise Refused(-99, f"the order is already {word}")
        return order

    def _check_open(self, venue: float) -> None:
        if self.phase(venue) != "CONTINUOUS":
            opens_at, closes_at = session_hours(self.market.running.day)
            hours = f"{ist(opens_at):%H:%M} to {ist(closes_at):%H:%M}"
            raise Refused(-99, f"RED:Market is closed: orders are accepted from {hours} IST")

    def _check_prices(self, symbol: str, type_: int, side: int, limit: int, stop: int) -> None:
        tick = self.market.listings[symbol].tick_paise
        for name, price, needed in (
            ("limitPrice", limit, type_ in (LIMIT, STOP_LIMIT)),
            ("stopPrice", stop, type_ in (STOP, STOP_LIMIT)),
        ):
            if needed and price <= 0:
                raise Refused(-50, f"{name} must be greater than 0 for this order type")
            if needed and price % tick:
                raise Refused(-50, f"{name} is not a multiple of tick size {tick / 100:.4f}")
        if type_ in (STOP, STOP_LIMIT):
            last = self.quote(symbol).last
            if side * (stop - last) < 0:
                where = "at or above" if side == 1 else "at or below"
                raise Refused(-50, f"stopPrice must be {where} the last price {last / 100:.2f}")
        if type_ == STOP_LIMIT and side * (limit - stop) <= 0:
            where = "below" if side == 1 else "above"
            raise Refused(-50, f"stopPrice must be {where} limitPrice")

    def _working_limit(self, order: Order) -> int:
        if order.limit:
            return order.limit
        if order.type == MARKET:
            return self._protected(order.symbol, order.side, self.quote(order.symbol).last)
        return 0 if not order.triggered else order.working_limit

    def _protected(self, symbol: str, side: int, last: int) -> int:
        """Market-price protection: the last price and a band, on the tick, inside the circuit."""
        tick = self.market.listings[symbol].tick_paise
        band = CHEAP_BAND_PAISE if last <= CHEAP_PAISE else int(last * MARKET_PROTECTION_PCT / 100)
        low, high = self.market.band(symbol)
        raw = last + side * band
        on_tick = raw // tick * tick if side == 1 else -(-raw // tick) * tick
        return min(max(on_tick, low), high)

    def _check_risk(self, order: Order) -> None:
        """Circuit limits, deliverable shares and margin, beside all that is live already."""
        low, high = self.market.band(order.symbol)
        for price in (order.limit, order.stop):
            if price and not low <= price <= high:
                raise Refused(
                    -99,
                    f"RED:Price {price / 100:.2f} is outside the circuit limits {low / 100:.2f} to {high / 100:.2f}",
                )
        account = self.accounts[order.user]
        others = [o for o in self.live_of(order.user) if o.id != order.id]
        if order.product == CNC and order.side == -1:
            promised = sum(
                o.remaining for o in others if o.symbol == order.symbol and o.product == CNC and o.side == -1
            )
            free = account.sellable(order.symbol) - promised
            if order.remaining > free:
                raise Refused(
                    -99,
                    f"RED:Holdings Shortfall:{order.remaining} Available:{max(0, free)} for C-{order.user} [SANDBOX]",
                )
            return
        before = account.blocked(others)
        required = account.blocked([*others, order]) - before
        available = account.cash + account.realised() - before
        if required > available:
            raise Refused(
                -99,
                f"RED:Margin Shortfall:INR {required / 100:,.2f} Available:INR {available / 100:,.2f} "
                f"for C-{order.user} [SANDBOX]",
            )
