"""The engine as a process: for each account a lease, two sockets, and a few loops that outlive their errors."""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection
from django.utils import timezone

from accounts.models import BrokerAccount
from accounts.selectors import LOGIN_STATES
from execution.brokers.control import SandboxControl
from execution.brokers.dialect import Hearers, Prices
from execution.brokers.errors import AuthError
from execution.brokers.instrument_refresh import SOURCES
from execution.brokers.registry import (
    AuthState,
    control_url_of,
    gateway_of,
    order_socket_of,
    price_socket_of,
    set_auth_state,
    sign_in,
    token_of,
)
from execution.brokers.socket_loop import Pace
from execution.engine.account_engine import HISTORY_DAYS, AccountEngine
from execution.engine.bands import BandKeeper
from execution.engine.bells import Bells
from execution.engine.clock_check import RIGHT, ClockState, read_clock
from execution.engine.dispatch import Dispatch
from execution.engine.inbox import Inbox
from execution.engine.job_watch import watch_jobs
from execution.engine.lease import State, acquire, give_up, renew, set_state, this_process
from execution.engine.live_sources import LiveSources
from execution.engine.preflight import PreflightGate, as_plain, preflight
from execution.engine.show import keep_equity, show_prices, show_summary
from execution.models import EngineLease, Order, ReconRun
from execution.reconcile.heal import SECOND_LOOK
from execution.services.order_claim import EXITS_WAIT, orders_hold
from risk.circuit_breaker import CircuitBreaker
from strategies.models import Deployment
from trading.domain.errors import TradingError
from trading.domain.heap import settle_heap
from trading.doorbell import Bell, Door
from trading.marketdata.clocks import anchor, venue_now
from trading.marketdata.listing.instruments import Origin, refresh_instruments
from trading.marketdata.listing.universes import members
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quotes import store_quotes
from trading.marketdata.watermark import candles_through
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.monitoring.models import Heartbeat
from trading.outbox import heard_here, nudge_stream
from trading.portfolio.models import Position, WatchlistItem
from trading.portfolio.valuation import Valuation
from trading.realtime.publish import publish_aside, publish_now, somebody_watches
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 0.5
BOOKS_BUSY_S, BOOKS_IDLE_S = 5.0, 15.0
BOOKS_APART_S = 3.0
"""However often they are asked for: two calls each, of the eighty-four that a minute has for reads and entries."""
RECON_EVERY_S = 60.0
FUNDS_BUSY_S, FUNDS_IDLE_S = 30.0, 60.0
CLOCK_EVERY_S = 5.0
GATES_EVERY_S = 2.0
MOST_WATCHED = 1_000  # instruments: a person's lists must not crowd out what is traded
WISHES_EVERY = 20  # turns of the show: five seconds
SHOW_EVERY_S = 0.25
TOKEN_LOOK_S = 2.0
CLOCK_DRIFT_S = 0.05
BELLS_WAIT_MS = 300  # less than what is believed of the circuit breaker is good for
SWITCH_S = 0.0002
LONGEST_PAUSE_S = 5.0
STOP_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class _Valued:
    """A portfolio's worth, in which turn of the show it was found, and whether prices could move it then."""

    value: Valuation
    turn: int
    moved: bool

    def is_due(self, turn: int, *, moves: bool) -> bool:
        """At every look while it holds something, once more when it is flat, and then every few seconds."""
        return moves or self.moved or turn - self.turn >= WISHES_EVERY


class AccountRunner:
    """One account's engine with its threads. `run` returns when it is told to stop, or has lost the lease."""

    def __init__(self, account: BrokerAccount, *, stop: threading.Event) -> None:
        self.account = account
        self.holder = this_process()
        self._told = stop
        self.stop = threading.Event()
        self._books_due = threading.Event()
        self._compared = threading.Event()  # nothing is entered before the two sides were laid side by side
        self._compared_at = 0.0
        self._funds_at, self._read = 0.0, 0
        self._clock_at, self._clock_state, self._began_at = 0.0, RIGHT, time.monotonic()
        self._gates_at = float("-inf")
        self._gates_of: tuple[dict[str, str], bool, bool] | None = None
        self._gates: tuple[PreflightGate, ...] = ()
        self._recon_cause: ReconRun.Cause | None = ReconRun.Cause.STARTUP
        self._stream_state: dict[str, str] = {}
        self._history_from = None
        self._history_due = threading.Event()
        self._caught_up = threading.Event()
        self._redis: redis.Redis | None = None

    # -- life --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take the lease, get ready, work until told to stop; then give the lease back."""
        fence = self._wait_for_lease()
        if fence is None:
            return
        self.fence = fence
        keeper = self._thread("lease", self._keep_lease)
        try:
            if self._get_ready():
                with heard_here(self.account.pk, self._bells.hear):
                    self._work()
        finally:
            self.stop.set()
            keeper.join(timeout=5)
            give_up(self.account.pk, fence)
            connection.close()

    def _wait_for_lease(self) -> int | None:
        while not self._told.is_set():
            try:
                fence = acquire(self.account.pk, self.holder)
            except DatabaseError as error:
                logger.warning("the database does not answer: %s", type(error).__name__)
                connection.close()
                fence = None
            if fence is not None:
                logger.info("account %s: lease taken, token %s", self.account.pk, fence)
                return fence
            self._told.wait(0.5)
        return None

    def _keep_lease(self) -> None:
        """Renew, beat, and stop everything when the lease is lost: then another engine speaks for the account."""
        while not self._rest(1.0):
            try:
                if not renew(self.account.pk, self.fence):
                    logger.error("account %s: the lease is lost", self.account.pk)
                    self.stop.set()
                    return
            except DatabaseError as error:
                # Cannot say whether it is still ours: claims go through the database too, so nothing can be sent.
                logger.warning("the lease was not renewed: %s", type(error).__name__)
                connection.close()
            if self._told.is_set():
                self.stop.set()
        connection.close()

    def _get_ready(self) -> bool:
        """Sign in, set the clock, know the instruments; again until it works. False when told to stop before."""
        pause = 0.5
        while not self.stop.is_set() and not self._told.is_set():
            try:
                self._prepare()
                return True
            except AuthError as error:
                self._say_state(State.PREFLIGHT, f"{error.code}: {error.message}")
                self._guarded(lambda: orders_hold(account_id=self.account.pk, fence=self.fence))
            except TradingError as error:
                self._say_state(State.PREFLIGHT, f"{error.code}: {error.message}")
            except DatabaseError as error:
                logger.warning("preflight: %s", type(error).__name__)
                connection.close()
            self.stop.wait(pause)
            pause = min(LONGEST_PAUSE_S, pause * 1.5)
        return False

    def _prepare(self) -> None:
        self.account.refresh_from_db()
        self.feed, _ = Feed.objects.get_or_create(
            name=self.account.feed,
            defaults={"kind": Feed.Kind.EXCHANGE if self.account.has_market_prices else Feed.Kind.SANDBOX},
        )
        self.control = None
        if not self.account.has_market_prices:
            self.control = SandboxControl(control_url=control_url_of(self.account))
            self._set_clock()
        self._be_signed_in()
        gateway = gateway_of(self.account)
        origin = Origin(SOURCES[self.account.broker])
        refresh_instruments(gateway.instruments(), now=venue_now(self.feed.name), actor="engine", origin=origin)
        self.engine = AccountEngine(
            account=self.account, feed=self.feed, gateway=gateway, fence=self.fence,
            now=lambda: venue_now(self.account.feed),
        )  # fmt: skip
        self.engine.sends_from = timezone.now()
        self._bells = Bells(
            give=self.engine.give, take=self.engine.handed.hear, answer=self.engine.answer_all,
            read_books=self._books_asked_for, is_open=self._sends,
        )  # fmt: skip
        self.instruments = self._wanted_instruments()
        self.by_symbol = {one.symbol: one for one in self.instruments}

    def _be_signed_in(self) -> None:
        """A token that the broker accepts, or a named reason why there is none.

        A live account that lost its sign-in is not asked for again with the dead token: brokers count that. A paper
        account is signed in where the source of its prices is.
        """
        source = self.account.source
        if source.is_live and source.auth_state in LOGIN_STATES:
            raise AuthError("NEEDS_LOGIN", f"{source.name}: its owner has to sign in at the broker.")
        try:
            token_of(self.account)
            gateway_of(self.account).profile()
        except AuthError:
            sign_in(self.account)
        else:
            set_auth_state(self.account, AuthState.AUTHENTICATED, "")
        for code in ("NEEDS_LOGIN", EXITS_WAIT):
            clear_alerts(code, owner_id=self.account.owner_id, about=str(self.account.pk))

    def _wanted_instruments(self) -> list[Instrument]:
        """Everything this account's deployments may trade, what it holds, the indices at the top of the page, and what
        its owner watches, as far as the venue's limit lets it follow."""
        today = exchange_date(venue_now(self.feed.name))
        wanted = set(Instrument.objects.filter(instrument_type="INDEX", active=True, exchange="NSE"))
        for deployment in Deployment.objects.filter(portfolio__account=self.account).exclude(state="RETIRED"):
            wanted |= set(members(deployment.universe, today))
        held = Position.objects.filter(portfolio__account=self.account).exclude(net_quantity=0)
        holdings = {position.instrument for position in held.select_related("instrument__underlying")}
        wanted |= holdings
        # What an option that is held does when its underlying moves is reckoned from the underlying's price.
        wanted |= {one.underlying for one in holdings if one.underlying is not None and one.underlying.active}
        watched = WatchlistItem.objects.filter(watchlist__owner=self.account.owner_id, instrument__active=True)
        for item in watched.select_related("instrument")[:MOST_WATCHED]:
            wanted.add(item.instrument)
        return sorted(wanted, key=lambda one: one.symbol)

    def _follow_wishes(self) -> None:
        """What was deployed, bought or put on a watchlist since we last looked is followed from now on."""
        wanted = self._wanted_instruments()
        if {one.symbol for one in wanted} == self.by_symbol.keys():
            return
        self.instruments, self.by_symbol = wanted, {one.symbol: one for one in wanted}
        self._prices.watch(self.by_symbol)
        self._history_due.set()  # of what is new, the minutes so far

    # -- work --------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        # On a fast clock four frames a second go by; a real market may pause for a while without being dead.
        pace = Pace(first_delay=0.2, longest_delay=3.0, silence=30.0)
        gateway = self.engine.gateway
        inbox = Inbox(self.engine.hear, on_loss=self._books_due.set)
        orders = order_socket_of(
            self.account, gateway=gateway, pace=pace,
            hearers=Hearers(inbox.put, inbox.put, partial(self._stream, "orders")),
        )  # fmt: skip
        prices = price_socket_of(
            self.account, gateway=gateway, on_ticks=self.engine.hear_ticks, on_state=partial(self._stream, "prices"),
            on_refused=lambda symbols: logger.warning("no prices for %s", ", ".join(symbols)),
            symbols=[one.symbol for one in self.instruments], pace=pace,
        )  # fmt: skip
        self._prices = prices
        self.engine.dispatch = Dispatch(
            account_id=self.account.pk, gateway=gateway, fence=self.fence, price_of=self.engine.market.middle_of,
            guarded=self._guarded, writing=self.engine.writing, on_recorded=self.engine.handed.forget,
            on_late=self.engine.handed.give_back,
        )  # fmt: skip
        self._redis = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=1)
        threads = [
            self._thread("orders", lambda: self._supervise("order socket", lambda: orders.run(self.stop))),
            self._thread("news", lambda: self._supervise("news", lambda: inbox.run(self.stop))),
            self._thread("prices", lambda: self._supervise("price socket", lambda: prices.run(self.stop))),
            self._thread("door", lambda: self._supervise("door", self._answer_door)),
            self._thread("bells", lambda: self._supervise("bells", self._answer_stream)),
            self._thread("asked", lambda: self._supervise("asked", lambda: self._bells.work(self.stop, urgent=True))),
            self._thread("steps", lambda: self._supervise("steps", lambda: self._bells.work(self.stop, urgent=False))),
            self._thread("sweep", lambda: self._supervise("sweep", self._sweep)),
            self._thread("books", lambda: self._supervise("books", self._read_books)),
            self._thread("keep", lambda: self._supervise("keep", self._keep)),
            self._thread("show", lambda: self._supervise("show", self._show)),
            self._thread("past", lambda: self._supervise("history", self._fill_history)),
            self._thread("live", lambda: self._supervise("price sources", lambda: self._watch_sources(prices))),
        ]
        self._books_due.set()
        signed_in_at, looked_at = self.account.source.validated_at, time.monotonic()
        while not self.stop.is_set():
            if self._told.wait(0.25):
                self.stop.set()
            elif time.monotonic() - looked_at > TOKEN_LOOK_S:
                looked_at = time.monotonic()
                self._look_for_new_token(signed_in_at)
        self._books_due.set()  # whoever waits for it need not wait for its time
        end = time.monotonic() + STOP_WITHIN_S
        for thread in threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))
        # The door is shut: whatever was handed in and not heard of leaves now, or is in doubt for the next engine.
        self._guarded(partial(self.engine.handed.find, after_s=0.0))
        self.engine.dispatch.close()
        self.engine.gateway.close()

    def _look_for_new_token(self, signed_in_at: datetime | None) -> None:
        """Gateway and sockets hold the token they began with: after another sign-in all begins anew, books first."""
        try:
            newest = BrokerAccount.objects.values_list("validated_at", flat=True).get(pk=self.account.source.pk)
            connection.close()
        except DatabaseError as error:
            logger.warning("the sign-in was not looked at: %s", type(error).__name__)
            connection.close()
            return
        if newest != signed_in_at:
            logger.info("account %s: signed in anew, starting over", self.account.pk)
            self.stop.set()

    def _rest(self, seconds: float) -> bool:
        """Wait without holding a connection: an engine has a dozen threads an account, and may have many accounts. True
        when it is time to stop."""
        connection.close()
        return self.stop.wait(seconds)

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name=f"{name}-{self.account.pk}", daemon=True)
        thread.start()
        return thread

    def _supervise(self, name: str, work: Callable[[], None]) -> None:
        """Run a loop until told to stop; whatever ends it before is told, and it is started again."""
        pause = 0.2
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                work()
            except AuthError as error:
                self._lost_sign_in(error)
            except (DatabaseError, redis.RedisError, TradingError) as error:
                logger.warning(
                    "%s: %s %s", name, type(error).__name__, error if isinstance(error, TradingError) else ""
                )
            except Exception:
                logger.exception("%s stopped", name)
                self._tell_of_crash(name)
            connection.close()
            if self.stop.is_set():
                break
            pause = 0.2 if time.monotonic() - began > 30 else min(LONGEST_PAUSE_S, pause * 2)
            self.stop.wait(pause)
        connection.close()

    def _tell_of_crash(self, name: str) -> None:
        try:
            raise_alert(
                "ENGINE_LOOP_FAILED", f"The {name} of the engine failed and was started again.", level=Level.SEVERE,
                about=f"{self.account.pk}:{name}", next_step="Read the engine's log.",
            )  # fmt: skip
        except DatabaseError:
            logger.exception("the alert was not stored")

    def _lost_sign_in(self, error: AuthError) -> None:
        """The broker does not know us any more: no entries until somebody has signed in, and the books are read."""
        try:
            set_auth_state(self.account, AuthState.EXPIRED, error.message)
            sign_in(self.account)
        except (TradingError, DatabaseError) as failure:
            logger.warning("signing in again failed: %s", failure)
            if not self.account.has_market_prices:
                return
        # Sockets and gateway hold the old token: begin anew with the fresh one.
        logger.info("account %s: starting over", self.account.pk)
        self.stop.set()

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except DatabaseError as error:
            logger.warning("a send was interrupted, the sweep takes it up: %s", type(error).__name__)
            connection.close()
        except Exception:
            logger.exception("a send failed")
            self._tell_of_crash("sender")

    # -- the loops ---------------------------------------------------------------------------------------------------

    def _answer_door(self) -> None:
        """What is rung on this machine. Nothing else is done here: the next order may be at the door."""
        door = Door(self.account.pk)
        try:
            while not self.stop.is_set():
                self._bells.hear_all(door.wait())
        finally:
            door.close()

    def _answer_stream(self) -> None:
        """What is rung elsewhere, or found no room at the door. A lost one is found by the sweep."""
        stream, last = nudge_stream(self.account.pk), "$"
        assert self._redis is not None
        while not self.stop.is_set():
            CircuitBreaker.keep_believing(self.account.pk)
            rung: Any = self._redis.xread({stream: last}, count=50, block=BELLS_WAIT_MS)
            bells: list[Bell] = []
            for _, entries in rung or ():
                last = entries[-1][0]
                bells += [(fields[b"name"].decode(), json.loads(fields[b"ids"])) for _, fields in entries]
            self._bells.hear_all(bells)

    def _sends(self) -> bool:
        return self.engine.dispatch is not None and not self.stop.is_set()

    def _books_asked_for(self, bell: str) -> None:
        if bell == "engine.reconcile":
            self._recon_cause = ReconRun.Cause.ASKED
        self._books_due.set()

    def _sweep(self) -> None:
        while not self._rest(SWEEP_EVERY_S):
            self.engine.sweep()

    def _read_books(self) -> None:
        last = 0.0
        while not self.stop.is_set():
            busy = Order.objects.filter(account=self.account).live().exists()
            connection.close()
            self._books_due.wait(BOOKS_BUSY_S if busy else BOOKS_IDLE_S)
            if self.stop.is_set():
                return
            # Asked for many times in a moment, read once: the broker counts every call.
            self.stop.wait(max(0.0, last + BOOKS_APART_S - time.monotonic()))
            self._books_due.clear()
            self._look_at_books()
            last = time.monotonic()

    def _look_at_books(self) -> None:
        """Read the books; compare everything where there is a reason to, or it was not done for a while."""
        cause, self._recon_cause = self._recon_cause, None
        if cause is None and time.monotonic() - self._compared_at >= RECON_EVERY_S:
            cause = ReconRun.Cause.PERIODIC
        if cause is None:
            read = self.engine.read_books()
            self._look_at_funds(busy=read != self._read)
            self._read = read
            return
        run = self.engine.reconcile(cause)
        if run.outcome == ReconRun.Outcome.INVALID:
            self._recon_cause = self._recon_cause or cause  # not done: again at the next reading
            self.engine.read_books()
            return
        self.engine.sends_from = None
        self._compared_at = self._funds_at = time.monotonic()
        if run.outcome == ReconRun.Outcome.WAITING:
            self._compared_at -= RECON_EVERY_S - SECOND_LOOK.total_seconds()  # the second look, soon
        if not self._compared.is_set():
            logger.info("account %s: compared with the broker, %s", self.account.pk, run.outcome)
            self._compared.set()

    def _look_at_funds(self, *, busy: bool) -> None:
        """Funds once a minute, and soon after something was placed or traded."""
        if time.monotonic() - self._funds_at >= (FUNDS_BUSY_S if busy else FUNDS_IDLE_S):
            self._funds_at = time.monotonic()
            self.engine.read_funds()

    def _keep(self) -> None:
        """Once a second: the clock, the candles, what time asks for, and how the engine is doing."""
        said = candles_through(self.feed.name)
        while not self._rest(0.5):
            if self.control is not None:
                self._set_clock()
            through = self.engine.keep_candles()
            if self._caught_up.is_set() and (said is None or through > said):
                self.engine.say_candles_through(through)
                said = through
            self.engine.keep_rules_of_time()
            self._judge_state()

    def _set_clock(self) -> None:
        """Follow the sandbox's clock. Small differences are the wire's and not worth a write."""
        assert self.control is not None
        reading = self.control.clock()
        wall = timezone.now()
        expected = venue_now(self.feed.name)
        # The reading is as of its own wall time; both clocks are this machine's.
        speed = reading.speed if reading.running else 0.0
        actual = reading.venue + (wall - reading.wall) * speed
        drift_s = abs((actual - expected).total_seconds())
        moved = self.feed.phase != reading.phase or self.feed.speed != speed
        if moved or self.feed.anchored_at is None or drift_s > CLOCK_DRIFT_S * max(1.0, speed):
            anchor(
                self.feed, wall=reading.wall, venue=reading.venue, speed=speed, phase=reading.phase,
                session_date=reading.session_date,
            )  # fmt: skip

    def _judge_state(self) -> None:
        """RUNNING when everything that a trade needs is there; else PREFLIGHT, with what is missing."""
        lease = EngineLease.objects.get(account=self.account)
        gates = self._preflight()
        missing = next((gate for gate in gates if gate.blocks and not gate.ok), None)
        if lease.paused_by:
            self._say_state(State.PAUSED, f"by {lease.paused_by}")
        elif missing is not None:
            self._say_state(State.PREFLIGHT, missing.cause)
        else:
            # The scanner waits for the past by itself (`say_candles_through`); a hand and an exit need none of it.
            waits = "" if self._caught_up.is_set() else "fetching the candles before now"
            self._say_state(State.RUNNING, waits or self._clock().cause)
        plain = as_plain(gates)
        if lease.streams != self._stream_state or lease.gates != plain:
            EngineLease.objects.filter(pk=lease.pk).update(streams=self._stream_state, gates=plain)

    def _preflight(self) -> tuple[PreflightGate, ...]:
        """Its gates, looked at every other second, and at once when a stream or the comparison has news."""
        told = (dict(self._stream_state), self._compared.is_set(), self._caught_up.is_set())
        if told != self._gates_of or time.monotonic() - self._gates_at >= GATES_EVERY_S:
            self._gates_of, self._gates_at = told, time.monotonic()
            heard = self.engine.market.last_tick_at
            self._gates = preflight(
                account=self.account, feed=self.feed, streams=self._stream_state, compared=self._compared.is_set(),
                clock=self._clock(), tick_age_s=None if heard is None else time.time() - heard,
                caught_up=self._caught_up.is_set(), now=venue_now(self.feed.name),
            )  # fmt: skip
        return self._gates

    def _clock(self) -> ClockState:
        """This machine's clock, looked at every few seconds; one that is off is told."""
        if time.monotonic() - self._clock_at >= CLOCK_EVERY_S:
            self._clock_at = time.monotonic()
            self._clock_state = read_clock(self.engine.gateway)
            if self._clock_state.cause:
                raise_alert(
                    "CLOCK_OFF", f"{self._clock_state.cause[0].upper()}{self._clock_state.cause[1:]}.",
                    level=Level.SEVERE if self._clock_state.blocks else Level.WARNING,
                    next_step="Look at the time service of the machine (chrony, systemd-timesyncd).",
                )  # fmt: skip
            else:
                clear_alerts("CLOCK_OFF", owner_id=None)
            watch_jobs(up_s=time.monotonic() - self._began_at)
        return self._clock_state

    def _say_state(self, state: str, cause: str) -> None:
        if set_state(self.account.pk, self.fence, state, cause):
            logger.info("account %s: %s %s", self.account.pk, state, cause)
            publish_now(self.account.owner_id, "engine", {"account": self.account.pk, "state": state, "cause": cause})

    def _stream(self, name: str, state: object, cause: object = "") -> None:
        """A socket came or went. What was missed meanwhile is read from the books and from history."""
        word = str(state)
        known = self._stream_state.get(name)
        self._stream_state[name] = word
        if known != word:
            logger.info("account %s: %s %s %s", self.account.pk, name, word, cause)
        if word == "connected":
            if name == "orders" and self._compared.is_set():
                self._recon_cause = ReconRun.Cause.RECONNECT
            self._books_due.set()
            if name == "prices":
                self._history_due.set()
        elif name == "prices" and known == "connected":
            self.engine.market.reconnected()
            self._caught_up.clear()

    def _fill_history(self) -> None:
        """Before the first tick, and after every hole: the minutes that were not heard, then trade on."""
        while not self.stop.is_set():
            connection.close()
            if not self._history_due.wait(0.25):
                continue
            self._history_due.clear()
            now = venue_now(self.feed.name)
            tradable = [one for one in self.instruments if one.is_tradable]
            try:
                self.engine.fill_history(tradable, start=now - HISTORY_DAYS)
            except BaseException:
                self._history_due.set()  # not done: again after the pause
                raise
            if self._stream_state.get("prices") == "connected":
                self._caught_up.set()

    def _watch_sources(self, prices: Prices) -> None:
        """Where prices come from, and another place where they do not."""
        sources = LiveSources(
            account=self.account, feed=self.feed, market=self.engine.market, gateway=self.engine.gateway,
            stream=prices, symbols=[one.symbol for one in self.instruments], now=lambda: venue_now(self.feed.name),
            is_connected=lambda: self._stream_state.get("prices") == "connected",
        )  # fmt: skip
        bands = BandKeeper(
            account=self.account, feed=self.feed, gateway=self.engine.gateway, now=lambda: venue_now(self.feed.name),
            symbols=lambda: [one.symbol for one in self.instruments if one.is_tradable],
        )  # fmt: skip
        try:
            while not self._rest(1.0):
                sources.look()
                bands.look()
        finally:
            sources.close()

    def _show(self) -> None:
        """Prices and figures for open pages; the quotes for every other process."""
        turn, valued, kept = 0, dict[int, _Valued](), dict[int, datetime]()
        while not self._rest(SHOW_EVERY_S):
            publish_aside([])  # of orders whose broker is slow to answer
            quotes = self.engine.market.changed_quotes()
            store_quotes(self.feed.name, quotes)
            watched = somebody_watches(self.account.owner_id)
            if watched:
                show_prices(self.account, quotes, self.by_symbol)
            turn += 1
            if turn % 2:
                continue
            if turn % WISHES_EVERY == 0:
                self._follow_wishes()
            self.feed.refresh_from_db()
            now = venue_now(self.feed.name)
            heard = self.engine.market.last_tick_at
            age_s = round(time.time() - heard, 1) if heard else None
            held, minute, due = self.engine.holders(), now.replace(second=0, microsecond=0), dict[int, Valuation]()
            for portfolio in self.engine.portfolios():
                known = valued.get(portfolio.pk)
                if known is None or known.is_due(turn, moves=portfolio.pk in held):
                    value = self.engine.value(portfolio)
                    known = valued[portfolio.pk] = _Valued(value, turn, moved=portfolio.pk in held)
                value = known.value
                if heard and kept.get(portfolio.pk) != minute:
                    due[portfolio.pk] = value
                if watched or portfolio.owner_id != self.account.owner_id:
                    show_summary(portfolio, value, feed=self.feed, now=now, tick_age_s=age_s)
            if due:
                keep_equity(due, now=now)
                kept |= dict.fromkeys(due, minute)


def run_engine(stop: threading.Event, *, account_ids: list[int] | None = None) -> None:
    """An engine for every account that has a portfolio, for as long as the process lives."""
    # A thread that waits for the interpreter may ask for it after this long: the way of an order to the wire wakes up
    # often, and with the usual 5 ms a busy neighbour would hold it up each time.
    sys.setswitchinterval(SWITCH_S)
    settle_heap()
    running: dict[int, threading.Thread] = {}
    while not stop.is_set():
        try:
            close_old_connections()
            accounts = BrokerAccount.objects.filter(portfolios__isnull=False).exclude(
                feed__in=Feed.objects.filter(kind=Feed.Kind.REPLAY).values("name")
            )
            if account_ids:
                accounts = accounts.filter(pk__in=account_ids)
            for account in accounts.distinct():
                if account.pk not in running or not running[account.pk].is_alive():
                    runner = AccountRunner(account, stop=stop)
                    thread = threading.Thread(target=runner.run, name=f"account-{account.pk}", daemon=True)
                    running[account.pk] = thread
                    thread.start()
            Heartbeat.objects.update_or_create(name="engine", defaults={"at": timezone.now()})
        except DatabaseError as error:
            logger.warning("the database does not answer: %s", type(error).__name__)
        connection.close()
        stop.wait(2.0)
    for thread in running.values():
        thread.join(timeout=8)
