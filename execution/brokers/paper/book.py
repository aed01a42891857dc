"""The durable book of a paper account: each act is one short transaction under the lock of the book's row.

Prices come in as stretches of the market; what trades in them is said by `trading.venue.fill_model`, as in a backtest.
Nothing here asks anybody: whoever opens the book has asked before.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db import transaction

from execution.brokers.paper.bell import ring
from execution.brokers.paper.rules import Refusal, Terms, blocked, check_band, closes
from execution.brokers.port import BrokerPosition, BrokerStatus, Funds, TriggerRequest, TriggerStatus
from execution.models.paper import PaperBook, PaperHolding, PaperOrder, PaperTrade, PaperTrigger
from trading.domain.money import to_paise, to_rupees
from trading.domain.orders import OrderType, Product, Side, Validity
from trading.venue.charges import ChargeBroker, ChargeSegment, NoteOrder, contract_note
from trading.venue.fill_model import Friction, Outcome, Stretch, outcome_of
from trading.venue.sessions import exchange_date

Band = tuple[Decimal, Decimal]
YEAR = timedelta(days=365)
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)


@dataclass(slots=True)
class _Day:
    """One symbol and product today: units and rupees on either side."""

    bought: int = 0
    paid: Decimal = Decimal(0)
    sold: int = 0
    got: Decimal = Decimal(0)


@contextmanager
def open_book(account_id: int) -> Iterator["Book"]:
    """The book under its lock; committed when the block ends, and then its streams are told."""
    with transaction.atomic(durable=True):
        book = Book(PaperBook.objects.select_for_update().get(account=account_id))
        before = book.row.sequence
        yield book
        book.row.save(update_fields=["cash_paise", "session_date", "sequence", "matched_through"])
    if book.row.sequence != before:
        ring(account_id)


class Book:
    """The rows of one account's day. Made by `open_book`, or without a lock for reading."""

    def __init__(self, row: PaperBook) -> None:
        self.row = row
        self.friction = Friction(row.slippage_bps, row.volume_share_pct)

    # -- looking -----------------------------------------------------------------------------------------------------

    @property
    def day(self) -> date:
        """Whose orders and trades are in the book; the beginning of time in a book that was never opened."""
        return self.row.session_date or date.min

    def orders(self) -> list[PaperOrder]:
        return list(PaperOrder.objects.filter(book=self.row, session_date=self.day).order_by("id"))

    def working(self, symbol: str = "") -> list[PaperOrder]:
        """Live orders by price and time do not matter here: each trades with the market, none with another."""
        found = PaperOrder.objects.filter(book=self.row, status=BrokerStatus.PENDING)
        return list((found.filter(symbol=symbol) if symbol else found).order_by("id"))

    def waiting(self, symbol: str = "") -> list[PaperTrigger]:
        found = PaperTrigger.objects.filter(book=self.row, status=TriggerStatus.ACTIVE)
        return list((found.filter(symbol=symbol) if symbol else found).order_by("id"))

    def trades(self) -> list[PaperTrade]:
        return list(
            PaperTrade.objects.filter(order__book=self.row, order__session_date=self.day)
            .select_related("order").order_by("id")
        )  # fmt: skip

    def _days(self) -> dict[tuple[str, str], _Day]:
        days: dict[tuple[str, str], _Day] = defaultdict(_Day)
        for trade in self.trades():
            day, value = days[trade.order.symbol, trade.order.product], trade.quantity * trade.price
            if trade.order.side == Side.BUY:
                day.bought, day.paid = day.bought + trade.quantity, day.paid + value
            else:
                day.sold, day.got = day.sold + trade.quantity, day.got + value
        return days

    def positions(self, last: Callable[[str], Decimal | None] = lambda symbol: None) -> list[BrokerPosition]:
        """What was traded today, by symbol and product, at the day's averages, as brokers count."""
        found = []
        for (symbol, product), day in sorted(self._days().items()):
            net, price = day.bought - day.sold, last(symbol)
            bought = day.paid / day.bought if day.bought else Decimal(0)
            sold = day.got / day.sold if day.sold else Decimal(0)
            average = bought if net > 0 else sold if net < 0 else Decimal(0)
            found.append(
                BrokerPosition(
                    symbol=symbol, product=product, net_quantity=net, average_price=round(average, 4),
                    realised=round(min(day.bought, day.sold) * (sold - bought), 2),
                    unrealised=round(net * (price - average), 2) if net and price is not None else Decimal(0),
                    last_price=price,
                )
            )  # fmt: skip
        return found

    def holdings(self) -> list[PaperHolding]:
        return list(PaperHolding.objects.filter(book=self.row).order_by("symbol"))

    def sellable(self, symbol: str, *, but: str = "") -> int:
        """Shares that may be sold for delivery: those held and bought today, less those on sale already."""
        held = PaperHolding.objects.filter(book=self.row, symbol=symbol).values_list("quantity", flat=True).first() or 0
        day = self._days()[symbol, Product.CNC]
        promised = sum(
            one.remaining_quantity for one in self.working(symbol)
            if one.product == Product.CNC and one.side == Side.SELL and one.number != but
        )  # fmt: skip
        return held + day.bought - day.sold - promised

    def funds(self) -> Funds:
        positions = self.positions()
        realised = sum((one.realised for one in positions), Decimal(0))
        utilised = blocked(positions, self.working())
        total = to_rupees(self.row.cash_paise) + realised
        return Funds(total=total, utilised=utilised, available=total - utilised, realised=realised)

    def is_of(self, now: datetime) -> bool:
        """False where an earlier day has not been ended yet: what trades now is none of its."""
        return exchange_date(now) <= self.day

    def check_day(self, now: datetime) -> None:
        if not self.is_of(now):
            raise Refusal("REJECTED", f"RED:{self.day} is not settled yet: its last prices are not known")

    # -- acting ------------------------------------------------------------------------------------------------------

    def admit(
        self, *, tag: str, symbol: str, side: Side, product: Product, order_type: OrderType, validity: Validity,
        quantity: int, limit: Decimal | None, trigger: Decimal | None, terms: Terms, band: Band | None,
        stretch: Stretch | None, last: Decimal | None, now: datetime, source: str = "API",
    ) -> tuple[PaperOrder, Refusal | None]:  # fmt: skip
        """Take an order into the book, or keep it there as rejected with the reason; match it with the price of now."""
        number = self._number()
        order = PaperOrder(
            book=self.row, number=number, tag=tag, session_date=self.day, symbol=symbol, side=side.value,
            product=product.value, order_type=order_type.value, validity=validity.value, quantity=quantity,
            limit_price=limit, trigger_price=trigger, margin_price=limit or trigger or last or Decimal(0),
            status=BrokerStatus.PENDING, source=source, placed_at=now,
        )  # fmt: skip
        refusal = self._declined(order, terms, band)
        if refusal is not None:
            order.status, order.message = BrokerStatus.REJECTED, refusal.message[:240]
        self._note(order, now)
        if refusal is None:
            self._arrive(order, stretch, terms, now)
        return order, refusal

    def _declined(self, order: PaperOrder, terms: Terms, band: Band | None) -> Refusal | None:
        """Why risk management declines an order, new or changed; None if it does not."""
        try:
            check_band(terms, band, quantity=order.quantity, prices=(order.limit_price, order.trigger_price))
        except Refusal as refusal:
            return refusal
        if order.product == Product.CNC and order.side == Side.SELL:
            free = self.sellable(order.symbol, but=order.number)
            if order.remaining_quantity > free:
                said = f"RED:Holdings Shortfall:{order.remaining_quantity} Available:{max(0, free)}"
                return Refusal("REJECTED", said, in_book=True)
            return None
        positions = self.positions()
        others = [one for one in self.working() if one.number != order.number]
        taken = blocked(positions, others)
        required = blocked(positions, [*others, order]) - taken
        if not order.margin_price and closes(order, positions, others) < order.remaining_quantity:
            return Refusal("REJECTED", "RED:No price is known to reckon its margin with", in_book=True)
        available = to_rupees(self.row.cash_paise) + sum((one.realised for one in positions), Decimal(0)) - taken
        if required > max(available, Decimal(0)):
            said = f"RED:Margin Shortfall:INR {required:,.2f} Available:INR {available:,.2f}"
            return Refusal("REJECTED", said, in_book=True)
        return None

    def change(
        self, order: PaperOrder, *, order_type: OrderType, quantity: int, limit: Decimal | None,
        trigger: Decimal | None, terms: Terms, band: Band | None, stretch: Stretch | None, last: Decimal | None,
        now: datetime,
    ) -> None:  # fmt: skip
        """Other terms for a live order. Refusal, and nothing changed, where they are not taken."""
        if order.triggered and order_type in _STOPS and order.order_type not in _STOPS:
            raise Refusal("INVALID_PARAMETER", "a working order cannot become a stop order")
        if quantity <= order.filled_quantity:
            raise Refusal("INVALID_PARAMETER", f"qty must be more than the {order.filled_quantity} already traded")
        moved = (order_type.value, limit, trigger) != (order.order_type, order.limit_price, order.trigger_price)
        order.order_type, order.quantity = order_type.value, quantity
        order.limit_price, order.trigger_price = limit, trigger
        order.margin_price = limit or trigger or last or order.margin_price
        refusal = self._declined(order, terms, band)
        if refusal is not None:
            raise refusal
        self._note(order, now)
        if moved:
            self._arrive(order, stretch, terms, now)

    def _arrive(self, order: PaperOrder, stretch: Stretch | None, terms: Terms, now: datetime) -> None:
        if stretch is not None:
            room = self.friction.room(stretch)
            self._match(order, stretch, terms, now, room)
        if order.is_working and order.validity == Validity.IOC:
            self.end(order, BrokerStatus.CANCELLED, "IOC remainder cancelled", now)

    def end(self, order: PaperOrder, status: BrokerStatus, message: str, now: datetime) -> None:
        order.status, order.message = status, message
        self._note(order, now)

    def live(self, number: str) -> PaperOrder:
        """Refusal where there is no such order, or it is over."""
        order = PaperOrder.objects.filter(book=self.row, number=number).first()
        if order is None:
            raise Refusal("INVALID_ORDER", "invalid order id")
        if not order.is_working:
            raise Refusal("REJECTED", f"the order is already {order.status.lower()}")
        return order

    # -- triggers ----------------------------------------------------------------------------------------------------

    def wait_for(self, request: TriggerRequest, now: datetime) -> PaperTrigger:
        self.row.sequence += 1
        trigger = PaperTrigger(
            book=self.row, number=f"T{self.row.account_id}-{self.row.sequence}", symbol=request.symbol,
            side=request.side.value, product=request.product.value, status=TriggerStatus.ACTIVE, created_at=now,
        )  # fmt: skip
        self.set_legs(trigger, request, now)
        return trigger

    def set_legs(self, trigger: PaperTrigger, request: TriggerRequest, now: datetime) -> None:
        trigger.legs = [[str(one.trigger_price), str(one.limit_price), one.quantity] for one in request.rising]
        trigger.last_price, trigger.updated_at = request.last_price, now
        trigger.save()

    def standing(self, number: str) -> PaperTrigger:
        """Refusal where there is no such trigger, or it waits no more."""
        trigger = PaperTrigger.objects.filter(book=self.row, number=number).first()
        if trigger is None:
            raise Refusal("INVALID_ORDER", "invalid order id")
        if trigger.status != TriggerStatus.ACTIVE:
            raise Refusal("REJECTED", f"the trigger is already {trigger.status.lower()}")
        return trigger

    def end_trigger(self, trigger: PaperTrigger, status: TriggerStatus, message: str, now: datetime) -> None:
        trigger.status, trigger.message, trigger.updated_at = status, message[:240], now
        trigger.save()

    # -- the market moves --------------------------------------------------------------------------------------------

    def take(
        self, symbol: str, stretch: Stretch, *, terms: Terms, band: Band | None, now: datetime,
        since: datetime | None = None,
    ) -> None:  # fmt: skip
        """Let the orders and triggers of a symbol meet a stretch. `since`: it began then, and tells nothing to what
        came after. Stops come first: of a stretch that reaches a stop and a target nobody knows the order."""
        room: dict[Side, int | None] = {side: self.friction.room(stretch) for side in Side}
        for order in sorted(self.working(symbol), key=lambda one: (one.order_type not in _STOPS, one.pk)):
            if since is None or order.updated_at <= since:
                side = Side(order.side)
                taken = self._match(order, stretch, terms, now, room[side])
                left = room[side]
                room[side] = None if left is None else left - taken
        for trigger in self.waiting(symbol):
            if since is None or trigger.updated_at <= since:
                self._fire(trigger, stretch, terms, band, now)

    def _match(self, order: PaperOrder, stretch: Stretch, terms: Terms, now: datetime, room: int | None) -> int:
        """Units that an order got of a stretch."""
        met = meet(order, stretch, tick=terms.tick, friction=self.friction)
        woke, order.triggered = met.triggered and not order.triggered, met.triggered
        quantity = order.remaining_quantity if room is None else min(order.remaining_quantity, room)
        if met.price is not None and quantity > 0:
            self._fill(order, quantity, met.price, now)
            return quantity
        if woke and order.order_type in _STOPS:
            self._note(order, now)
        return 0

    def _fill(self, order: PaperOrder, quantity: int, price: Decimal, now: datetime) -> None:
        order.filled_quantity += quantity
        order.fill_value += quantity * price
        if not order.remaining_quantity:
            order.status = BrokerStatus.FILLED
        self.row.sequence += 1
        PaperTrade.objects.create(
            order=order, number=f"{order.number}-{PaperTrade.objects.filter(order=order).count() + 1}",
            quantity=quantity, price=price, traded_at=now, version=self.row.sequence,
        )  # fmt: skip
        self._note(order, now)

    def _fire(self, trigger: PaperTrigger, stretch: Stretch, terms: Terms, band: Band | None, now: datetime) -> None:
        """Place what a trigger waits with, once one of its prices was traded."""
        leg = reached_leg(trigger, stretch)
        if leg is None:
            return
        _, limit, quantity = leg
        order, refusal = self.admit(
            tag="", symbol=trigger.symbol, side=Side(trigger.side), product=Product(trigger.product),
            order_type=OrderType.LIMIT, validity=Validity.DAY, quantity=quantity, limit=limit, trigger=None,
            terms=terms, band=band, stretch=stretch, last=stretch.first, now=now, source="GTT",
        )  # fmt: skip
        self.end_trigger(
            trigger, TriggerStatus.TRIGGERED, refusal.message if refusal else f"placed {order.number}", now
        )

    # -- the day -----------------------------------------------------------------------------------------------------

    def begin(self, now: datetime) -> None:
        if self.row.session_date is None:
            self.row.session_date = exchange_date(now)

    def turn(
        self, now: datetime, *, terms_of: Callable[[str], Terms], last: Callable[[str], Decimal | None],
        charge_broker: ChargeBroker,
    ) -> bool:  # fmt: skip
        """What the end of a session asks for: orders of the day expire, intraday is squared off at the last price,
        and on a later day the books are settled. False where a price for that is not known yet."""
        self.begin(now)
        for order in self.working():
            if (over := terms_of(order.symbol).over_at(order.session_date)) <= now:
                self.end(order, BrokerStatus.EXPIRED, "Order expired at the end of the session", over)
        for one in self.positions():
            over = terms_of(one.symbol).over_at(self.day)
            if one.product == Product.INTRADAY and one.net_quantity and over <= now:
                price = last(one.symbol)
                if price is None:
                    return False
                self._square_off(one, price, over)
        if exchange_date(now) > self.day:
            self._settle(exchange_date(now), terms_of, charge_broker)
            for trigger in self.waiting():
                if now - trigger.created_at > YEAR:
                    self.end_trigger(trigger, TriggerStatus.EXPIRED, "One year has passed", now)
        return True

    def _square_off(self, position: BrokerPosition, price: Decimal, now: datetime) -> None:
        """The broker closes an intraday position that nobody closed."""
        quantity = abs(position.net_quantity)
        order = PaperOrder(
            book=self.row, number=self._number(), tag="", session_date=self.day, symbol=position.symbol,
            side=Side.of(position.net_quantity).opposite.value, product=position.product,
            order_type=OrderType.MARKET.value, validity=Validity.DAY.value, quantity=quantity, triggered=True,
            margin_price=price, status=BrokerStatus.PENDING, source="BROKER",
            message="Squared off by the broker at the end of the session", placed_at=now,
        )  # fmt: skip
        self._note(order, now)
        self._fill(order, quantity, price, now)

    def _settle(self, day: date, terms_of: Callable[[str], Terms], broker: ChargeBroker) -> None:
        """The session is history: cash with the day's charges taken off, deliveries into the demat account."""
        days = self._days()
        for (symbol, product), one in days.items():
            self.row.cash_paise += to_paise(one.got - one.paid)
            if product == Product.CNC and one.bought != one.sold:
                self._deliver(symbol, one, terms_of(symbol).isin)
        self.row.cash_paise -= self._note_of_the_day(broker)
        self.row.session_date = day
        self.row.sequence += 1

    def _deliver(self, symbol: str, day: _Day, isin: str) -> None:
        held = PaperHolding.objects.filter(book=self.row, symbol=symbol).first()
        had, cost = (held.quantity, held.cost) if held else (0, Decimal(0))
        net = day.bought - day.sold
        average = day.paid / day.bought if net > 0 else cost / had if had else Decimal(0)
        left = had + net
        if left > 0:
            PaperHolding.objects.update_or_create(
                book=self.row, symbol=symbol,
                defaults={"isin": isin, "quantity": left, "cost": round(cost + net * average, 4)},
            )  # fmt: skip
        elif held is not None:
            held.delete()

    def _note_of_the_day(self, broker: ChargeBroker) -> int:
        """Paise, as the broker's contract note has them."""
        orders = [
            NoteOrder(
                one.number, one.symbol,
                ChargeSegment.EQUITY_DELIVERY if one.product == Product.CNC else ChargeSegment.EQUITY_INTRADAY,
                Side(one.side), one.filled_quantity, to_paise(one.fill_value),
            )
            for one in self.orders() if one.filled_quantity
        ]  # fmt: skip
        return contract_note(orders, broker=broker, on_date=self.day).sheet.total if orders else 0

    # -- inside ------------------------------------------------------------------------------------------------------

    def _number(self) -> str:
        self.row.sequence += 1
        return f"{self.day:%y%m%d}{self.row.account_id:05d}{self.row.sequence:07d}"

    def _note(self, order: PaperOrder, now: datetime) -> None:
        self.row.sequence += 1
        order.version, order.updated_at = self.row.sequence, now
        order.save()


def meet(order: PaperOrder, stretch: Stretch, *, tick: Decimal, friction: Friction) -> Outcome:
    return outcome_of(
        side=Side(order.side), order_type=OrderType(order.order_type), limit=order.limit_price,
        trigger=order.trigger_price, triggered=order.triggered, stretch=stretch, tick=tick, friction=friction,
    )  # fmt: skip


def reached_leg(trigger: PaperTrigger, stretch: Stretch) -> tuple[Decimal, Decimal, int] | None:
    """The leg whose price lies in a stretch; of two the one that is worse for its owner."""
    legs = [(Decimal(price), Decimal(limit), int(quantity)) for price, limit, quantity in trigger.legs]
    for leg in legs if trigger.side == Side.SELL else reversed(legs):
        if (stretch.low <= leg[0]) if leg[0] < trigger.last_price else (stretch.high >= leg[0]):
            return leg
    return None
