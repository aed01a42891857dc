"""The port, spoken to a book of the desk's own. Prices are another account's; no order ever goes there.

Whatever is asked for, the book is brought to the present first: what streamed in was matched as it came, what did not
is asked for, what was slept through is read from history, and a session that is over is ended.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db import DatabaseError

from execution.brokers.environment import of_other_environment
from execution.brokers.errors import AuthError, BrokerError, BusinessError
from execution.brokers.paper import rows
from execution.brokers.paper.book import Book, open_book
from execution.brokers.paper.rules import Refusal, Terms, blocked, check_open, check_product, check_terms, closes_of
from execution.brokers.paper.source import PriceSource
from execution.brokers.port import (
    MARGIN_ORDERS,
    Acknowledged,
    Bar,
    BookOrder,
    BrokerHolding,
    BrokerPosition,
    CallClass,
    Depth,
    Funds,
    History,
    ListedInstrument,
    Margin,
    OptionChain,
    Profile,
    Quote,
    Refused,
    SendResult,
    StandingTrigger,
    Tick,
    TriggerRequest,
    TriggerStatus,
    Unknown,
    what_is_wrong_with_order,
    what_is_wrong_with_trigger,
)
from execution.models.paper import PaperBook, PaperOrder, PaperTrigger
from trading.domain.fills import FillFact
from trading.domain.orders import OrderRequest, OrderType, Product, Side
from trading.marketdata.listing.bands import band_of
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.sessions import session_kind
from trading.marketdata.sources import HistoryLimits
from trading.venue.charges import ChargeBroker
from trading.venue.fill_model import Stretch
from trading.venue.precision import is_on_tick
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)
TERMS_S = 60.0
WORKING_S = 1.0
SLEPT = timedelta(minutes=2)
"""Prices of so long, at the venue's pace, were not looked at: they are read from history, minute by minute."""
PRESENT_S = 5.0


class PaperGateway:
    """One paper account. Safe to use from several threads; its book may be open in several processes."""

    def __init__(
        self, *, account_id: int, name: str, feed: str, source: PriceSource, now: Callable[[], datetime],
        charge_broker: ChargeBroker, simulated: bool,
    ) -> None:  # fmt: skip
        self.account_id, self.name, self.feed_name = account_id, name, feed
        self.prices = source
        self._now = now
        self._charges = charge_broker
        self._simulated = simulated
        self._terms: dict[str, tuple[float, Terms]] = {}
        self._working: dict[str, list[PaperOrder | PaperTrigger]] = {}
        self._working_at = self._said_at = float("-inf")
        self._speed = 1.0  # of the feed's clock
        self._behind = False

    def __repr__(self) -> str:
        return f"PaperGateway({self.name})"

    def close(self) -> None:
        self.prices.close()

    # -- sending -----------------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest, *, klass: CallClass = CallClass.ORDER) -> SendResult:
        """Into the book, once for each call: one tag sent twice is two orders, as at any broker."""
        if wrong := what_is_wrong_with_order(request):
            return Refused("INVALID_REQUEST", wrong)
        if refused := of_other_environment(request, live=False):
            return refused
        return self._send(lambda: self._place(request))

    def _place(self, request: OrderRequest) -> Acknowledged | Refused:
        terms, now = self._terms_of(request.symbol), self._present(request.symbol)
        band, stretch, last = self._band(terms, now), self._price(request.symbol), self._last(request.symbol)
        limit, trigger = _prices_of(request.order_type, request.limit_price, request.trigger_price)
        check_open(terms, now)
        check_terms(
            terms, order_type=request.order_type, side=request.side, product=request.product,
            quantity=request.quantity, limit=limit, trigger=trigger, last=last,
        )  # fmt: skip
        with open_book(self.account_id) as book:
            book.check_day(now)
            order, refusal = book.admit(
                tag=request.client_order_id, symbol=request.symbol, side=request.side, product=request.product,
                order_type=request.order_type, validity=request.validity, quantity=request.quantity, limit=limit,
                trigger=trigger, terms=terms, band=band, stretch=stretch, last=last, now=now,
            )  # fmt: skip
            self._looked_at(book, now)
        if refusal is not None:
            return Refused(refusal.code, refusal.message, order.number)
        return Acknowledged(order.number)

    def modify(
        self, broker_order_id: str, *, order_type: OrderType, quantity: int | None = None,
        limit_price: Decimal | None = None, trigger_price: Decimal | None = None,
    ) -> SendResult:  # fmt: skip
        """Change what is given, keep the rest."""
        return self._send(
            lambda: self._modify(broker_order_id, order_type, quantity, limit_price, trigger_price), broker_order_id
        )

    def _modify(
        self, number: str, order_type: OrderType, quantity: int | None, limit: Decimal | None, trigger: Decimal | None
    ) -> Acknowledged:
        known = PaperOrder.objects.filter(book__account=self.account_id, number=number).first()
        if known is None:
            raise Refusal("INVALID_ORDER", "invalid order id")
        terms, now = self._terms_of(known.symbol), self._present(known.symbol)
        band, stretch, last = self._band(terms, now), self._price(known.symbol), self._last(known.symbol)
        check_open(terms, now)
        with open_book(self.account_id) as book:
            book.check_day(now)
            order = book.live(number)
            quantity = order.quantity if quantity is None else quantity
            limit, trigger = _prices_of(
                order_type, order.limit_price if limit is None else limit,
                order.trigger_price if trigger is None else trigger,
            )  # fmt: skip
            check_terms(
                terms, order_type=order_type, side=Side(order.side), product=Product(order.product),
                quantity=quantity, limit=limit, trigger=trigger, last=None if order.triggered else last,
            )  # fmt: skip
            book.change(
                order, order_type=order_type, quantity=quantity, limit=limit, trigger=trigger, terms=terms, band=band,
                stretch=stretch, last=last, now=now,
            )  # fmt: skip
        return Acknowledged(number)

    def cancel(self, broker_order_id: str) -> SendResult:
        def cancelled() -> Acknowledged:
            now = self._present()
            with open_book(self.account_id) as book:
                order = book.live(broker_order_id)
                book.end(order, rows.CANCELLED, "Order cancelled by the user", now)
            return Acknowledged(broker_order_id)

        return self._send(cancelled, broker_order_id)

    def place_trigger(self, request: TriggerRequest) -> SendResult:
        if wrong := what_is_wrong_with_trigger(request):
            return Refused("INVALID_REQUEST", wrong)

        def placed() -> Acknowledged:
            terms, now = self._terms_of(request.symbol), self._present()
            _check_trigger(terms, request)
            with open_book(self.account_id) as book:
                self._looked_at(book, now)
                return Acknowledged(book.wait_for(request, now).number)

        return self._send(placed)

    def modify_trigger(self, trigger_id: str, request: TriggerRequest) -> SendResult:
        if wrong := what_is_wrong_with_trigger(request):
            return Refused("INVALID_REQUEST", wrong, trigger_id)

        def modified() -> Acknowledged:
            now = self._present()
            _check_trigger(self._terms_of(request.symbol), request)
            with open_book(self.account_id) as book:
                trigger = book.standing(trigger_id)
                if len(request.legs) != len(trigger.legs):
                    raise Refusal("INVALID_PARAMETER", "a trigger keeps its number of legs")
                book.set_legs(trigger, request, now)
            return Acknowledged(trigger_id)

        return self._send(modified, trigger_id)

    def cancel_trigger(self, trigger_id: str) -> SendResult:
        def cancelled() -> Acknowledged:
            now = self._present()
            with open_book(self.account_id) as book:
                book.end_trigger(book.standing(trigger_id), TriggerStatus.CANCELLED, "", now)
            return Acknowledged(trigger_id)

        return self._send(cancelled, trigger_id)

    def _send(self, act: Callable[[], Acknowledged | Refused], known_id: str | None = None) -> SendResult:
        """Three-valued like every broker: a database that failed in the middle may have committed."""
        try:
            return act()
        except Refusal as refusal:
            return Refused(refusal.code, refusal.message, known_id)
        except AuthError as error:
            return Refused("AUTH", error.message, known_id)
        except DatabaseError as error:
            return Unknown(f"the paper book: {type(error).__name__}")
        finally:
            self._working_at = float("-inf")

    # -- the books ---------------------------------------------------------------------------------------------------

    def profile(self) -> Profile:
        """Proof that the source of its prices still opens, and whose account this is."""
        self.prices.profile()
        return Profile(user_id=f"PAPER{self.account_id}", name=self.name)

    def funds(self) -> Funds:
        return self._book().funds()

    def margin(self, requests: Sequence[OrderRequest]) -> Margin:
        if not 1 <= len(requests) <= MARGIN_ORDERS:
            raise ValueError(f"the margin of {len(requests)} orders; 1 to {MARGIN_ORDERS} can be asked for")
        book, drafts = self._book(), []
        for request in requests:
            try:
                check_product(self._terms_of(request.symbol), request.product)
            except Refusal as refusal:
                raise BusinessError("BROKER_DECLINED", refusal.message) from refusal
            if self._last(request.symbol) is None:
                self._present(request.symbol)
            draft = rows.draft(request, last=self._last(request.symbol))
            if not draft.margin_price:
                raise BusinessError("NO_PRICE", f"No price of {request.symbol} is known.")
            drafts.append(draft)
        positions, working = book.positions(), book.working()
        before = blocked(positions, working)
        return Margin(
            required=blocked(positions, [*working, *drafts]) - before, available=book.funds().available,
            each=tuple(blocked(positions, [*working, one]) - before for one in drafts),
        )  # fmt: skip

    def holdings(self) -> list[BrokerHolding]:
        book = self._book()
        return [
            rows.holding(one, sellable=book.sellable(one.symbol), last=self._last(one.symbol))
            for one in book.holdings()
        ]

    def triggers(self) -> list[StandingTrigger]:
        book = self._book()
        return [rows.trigger(one) for one in PaperTrigger.objects.filter(book=book.row).order_by("id")]

    def orders(self) -> list[BookOrder]:
        return [rows.order(one) for one in self._book().orders()]

    def trades(self) -> list[FillFact]:
        return [rows.fill(one) for one in self._book().trades()]

    def positions(self) -> list[BrokerPosition]:
        return self._book().positions(self._last)

    def _book(self) -> Book:
        self._present()
        return Book(PaperBook.objects.get(account=self.account_id))

    # -- the market: the source's ------------------------------------------------------------------------------------

    def quotes(self, symbols: Iterable[str]) -> list[Quote]:
        return self.prices.quotes(symbols)

    def depth(self, symbol: str) -> Depth:
        return self.prices.depth(symbol)

    @property
    def bands_a_call(self) -> int:
        return self.prices.bands_a_call

    def bands(self, symbols: Iterable[str]) -> dict[str, tuple[Decimal, Decimal]]:
        return self.prices.bands(symbols)

    @property
    def history_limits(self) -> HistoryLimits:
        return self.prices.history_limits

    def history(self, symbol: str, *, timeframe: str, start: datetime, end: datetime) -> History:
        return self.prices.history(symbol, timeframe=timeframe, start=start, end=end)

    def instruments(self) -> list[ListedInstrument]:
        return self.prices.instruments()

    def option_chain(self, symbol: str, *, expiry: date | None = None, strikes: int = 50) -> OptionChain:
        return self.prices.option_chain(symbol, expiry=expiry, strikes=strikes)

    def clock_skew_s(self) -> float | None:
        return self.prices.clock_skew_s()

    def market_open(self) -> bool:
        return self.prices.market_open()

    # -- the present -------------------------------------------------------------------------------------------------

    def hear(self, ticks: Iterable[Tick]) -> None:
        """Prices as they stream in: what rests meets them before anybody else hears of them. Not before it has met what
        was slept through, which came first: the next question sees to that."""
        now = self._now()
        if time.monotonic() - self._working_at > WORKING_S:
            self._look_up_working(now)
        told = self.prices.hear(ticks, now=now, speed=self._speed)
        if not self._behind:
            self._meet([(symbol, stretch) for symbol, stretch in told if symbol in self._working], now)

    def _look_up_working(self, now: datetime) -> Book:
        """What waits for a price, and whether prices were missed that it should have met."""
        book = Book(PaperBook.objects.get(account=self.account_id))
        working: dict[str, list[PaperOrder | PaperTrigger]] = {}
        waiting: list[PaperOrder | PaperTrigger] = [*book.working(), *book.waiting()]
        for one in waiting:
            working.setdefault(one.symbol, []).append(one)
        speed = Feed.objects.filter(name=self.feed_name).values_list("speed", flat=True).first()
        self._speed = float(speed) if speed else 1.0
        since, until = book.row.matched_through, min(now, closes_of(book.day, assumed=self._simulated)[1])
        self._behind = bool(working) and since is not None and until - since > SLEPT * max(1.0, self._speed)
        self._working, self._working_at = working, time.monotonic()
        return book

    def _meet(self, told: Sequence[tuple[str, Stretch]], now: datetime) -> None:
        """Match what a look at the known rows says may trade; the rows themselves are asked again under the lock."""
        due = [
            (symbol, stretch) for symbol, stretch in told
            if any(rows.touches(one, stretch) for one in self._working.get(symbol, ()))
        ]  # fmt: skip
        if told and time.monotonic() - self._said_at > PRESENT_S:
            self._said_at = time.monotonic()
            PaperBook.objects.filter(account=self.account_id).update(matched_through=now)
        if not due:
            return
        known = {symbol: self._terms_of(symbol) for symbol, _ in due}
        known = {symbol: terms for symbol, terms in known.items() if terms.trades_at(now)}
        bands = {symbol: self._band(terms, now) for symbol, terms in known.items()}
        with open_book(self.account_id) as book:
            for symbol, stretch in due if book.is_of(now) else ():
                if symbol in known:
                    book.take(symbol, stretch, terms=known[symbol], band=bands[symbol], now=now)
        self._working_at = float("-inf")

    def _present(self, symbol: str = "") -> datetime:
        """Bring the book to now, and know a price of `symbol`. Gives venue time.

        AuthError where the source has lost its sign-in: an account without prices is as good as signed out.
        """
        now = self._now()
        _ = self.prices.connection
        for _ in range(2):  # the day that was slept through, and the one in which it wakes up
            book = self._look_up_working(now)
            if self._behind and not self._catch_up(book, now):
                return now
            if not self._is_over(book, now):
                break
            self._turn(book, now)
        wanted = [one for one in {*self._working, *([symbol] if symbol else [])} if self._trades(one, now)]
        if wanted:
            self._meet(self.prices.ask(sorted(wanted), now=now, speed=self._speed), now)
        return now

    def _is_over(self, book: Book, now: datetime) -> bool:
        """Whether something of the day should have ended. Before the first close of the day nothing has."""
        if book.row.session_date is None or exchange_date(now) > book.row.session_date:
            return True
        if now < closes_of(book.day, assumed=self._simulated)[0]:
            return False
        return any(
            self._terms_of(symbol).over_at(book.day) <= now
            for symbol in {one.symbol for one in book.working()}
            | {one.symbol for one in book.positions() if one.product == Product.INTRADAY and one.net_quantity}
        )

    def _catch_up(self, book: Book, now: datetime) -> bool:
        """Minutes that nobody looked at, from history, oldest first. An order meets those that began after it came.

        False: history cannot be had now, so nothing is known of them, and nothing that follows from them happens.
        """
        since = book.row.matched_through
        assert since is not None  # else nothing was missed
        bars: list[tuple[datetime, str, Bar]] = []
        for symbol in self._working:
            end = min(now, self._terms_of(symbol).over_at(book.day))
            found = self._minutes(symbol, start=since, end=end)
            if found is None:
                return False
            bars += [(bar.started_at, symbol, bar) for bar in found if bar.started_at + timedelta(minutes=1) <= end]
        known = {symbol: self._terms_of(symbol) for symbol in self._working}
        bands = {symbol: self._band(terms, now) for symbol, terms in known.items()}
        with open_book(self.account_id) as held:
            for started_at, symbol, bar in sorted(bars, key=lambda one: (one[0], one[1])):
                stretch = Stretch(bar.open, bar.high, bar.low, volume=bar.volume)
                held.take(
                    symbol, stretch, terms=known[symbol], band=bands[symbol], now=started_at + timedelta(minutes=1),
                    since=started_at,
                )  # fmt: skip
            held.row.matched_through = max(since, min(now, closes_of(book.day, assumed=self._simulated)[1]))
        self._look_up_working(now)
        return True

    def _minutes(self, symbol: str, *, start: datetime, end: datetime) -> list[Bar] | None:
        """The source's minute bars; none where it has none, None where it cannot be asked now."""
        if start >= end:
            return []
        try:
            return self.prices.history(symbol, timeframe="1m", start=start, end=end).bars
        except AuthError:
            raise
        except BusinessError:
            return []
        except BrokerError as error:
            logger.warning("paper account %s: no history of %s: %s", self.account_id, symbol, error)
            return None

    def _turn(self, book: Book, now: datetime) -> None:
        """The end of a session, and the beginning of the next."""
        closes = {
            one.symbol: self._close_of(one.symbol, book) for one in book.positions()
            if one.product == Product.INTRADAY and one.net_quantity
        }  # fmt: skip
        with open_book(self.account_id) as held:
            held.turn(now, terms_of=self._terms_of, last=closes.get, charge_broker=self._charges)
        self._look_up_working(now)

    def _close_of(self, symbol: str, book: Book) -> Decimal | None:
        """The last price of the book's day: as heard, from history, and where nobody knows, what was traded last."""
        mark = self.prices.last(symbol)
        if mark is not None and exchange_date(mark.traded_at) == book.day:
            return mark.last
        over = self._terms_of(symbol).over_at(book.day)
        bars = self._minutes(symbol, start=over - timedelta(hours=7), end=over)
        if bars is None:
            return None  # it is asked again; until then the position stays open
        if bars:
            return bars[-1].close
        return next((trade.price for trade in reversed(book.trades()) if trade.order.symbol == symbol), None)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _looked_at(self, book: Book, now: datetime) -> None:
        """Prices before now are no matter of what comes now, unless something waits that has missed some."""
        if not self._behind:
            book.row.matched_through = max(now, book.row.matched_through or now)

    def _terms_of(self, symbol: str) -> Terms:
        read_at, terms = self._terms.get(symbol, (float("-inf"), None))
        if terms is None or time.monotonic() - read_at > TERMS_S:
            row = Instrument.objects.filter(symbol=symbol).first()
            if row is None or row.instrument_type == "INDEX":
                raise Refusal("INVALID_SYMBOL", f"invalid symbol {symbol[:60]}")
            terms = Terms(
                row.symbol, row.isin, row.tick_size, row.lot_size, row.freeze_quantity, session_kind(row),
                not row.is_derivative, self._simulated, row.active,
            )  # fmt: skip
            self._terms[symbol] = (time.monotonic(), terms)
        return terms

    def _band(self, terms: Terms, now: datetime) -> tuple[Decimal, Decimal] | None:
        day = exchange_date(now)
        feed = Feed.objects.filter(name=self.feed_name).first()
        row = Instrument.objects.filter(symbol=terms.symbol).first()
        kept = band_of(feed, row, day) if feed is not None and row is not None else None
        return kept or self.prices.band(terms.symbol, day)

    def _price(self, symbol: str) -> Stretch | None:
        """What an order that arrives now meets; None: nobody knows a fresh price, so it waits for one."""
        mark = self.prices.fresh(symbol)
        return None if mark is None else mark.stretch(opens=True)

    def _last(self, symbol: str) -> Decimal | None:
        mark = self.prices.last(symbol)
        return None if mark is None else mark.last

    def _trades(self, symbol: str, now: datetime) -> bool:
        try:
            return self._terms_of(symbol).trades_at(now)
        except Refusal:
            return False


def _prices_of(
    order_type: OrderType, limit: Decimal | None, trigger: Decimal | None
) -> tuple[Decimal | None, Decimal | None]:
    """Those that an order type has."""
    return (
        limit if order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None,
        trigger if order_type in (OrderType.STOP, OrderType.STOP_LIMIT) else None,
    )


def _check_trigger(terms: Terms, request: TriggerRequest) -> None:
    check_product(terms, request.product)
    if request.product is not Product.CNC:
        raise Refusal("INVALID_PARAMETER", "only CNC orders may wait for a price")
    for leg in request.legs:
        if not (is_on_tick(leg.trigger_price, terms.tick) and is_on_tick(leg.limit_price, terms.tick)):
            raise Refusal("INVALID_PARAMETER", f"prices must be multiples of tick size {terms.tick:.4f}")
