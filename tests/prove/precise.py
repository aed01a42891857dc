"""Alerts with sizes and prices that nobody can trade, laddered over shares of every tick, through the whole desk to an
exchange; and what that exchange would not have taken, told by a table of our own."""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from django.utils import timezone

from execution.brokers.port import BookOrder, BrokerStatus
from execution.engine.bands import BandKeeper
from execution.engine_settings import publish_settings
from execution.hooks.arrival import Knock
from execution.hooks.keep import hook_create
from execution.hooks.receive import receive
from execution.models import Group, Hook, LadderPlan, Order
from execution.sandbox.universe import NIFTY50
from risk.policies import publish_policy
from strategies.models import Signal
from tests.bench import small_desk
from tests.flows.stepped_desk import APP, SECRET, SteppedDesk, stepped_desk
from trading.domain.clock import IST
from trading.marketdata.models import Instrument, PriceBand
from trading.venue.precision import stock_tick
from trading.venue.sessions import exchange_date

DAYS = (date(2024, 5, 14), date(2024, 8, 13), date(2025, 6, 10), date(2026, 11, 20))
"""One of each table of ticks: five paise for all, a paisa below 250 rupees, bands by price, and the newest. The
exchange keeps the newest at all times; of an older one what is coarser is used."""
ANYTHING = {
    "max_trades_per_day": 100_000, "max_open_positions": 10_000, "max_strategy_positions": 10_000,
    "duplicate_window_s": 0, "runaway_orders_per_intent": 1_000, "runaway_orders_per_fill": 10_000,
    "runaway_rejections": 1_000, "stop_required": False, "spread_to_deviation": Decimal(1),
    "min_volume_ratio": Decimal(0), "opening_gap_pct": Decimal(100), "cooldown_min": 0, "loss_streak": 0,
    "cash_reserve_pct": Decimal(0), "sector_exposure_pct": Decimal(100), "position_size_pct": Decimal(100),
    "max_order_value_rupees": Decimal(10) ** 11, "max_order_quantity": 10_000_000, "price_collar_pct": Decimal(25),
    "correlation_halve": Decimal(1), "correlation_reject": Decimal(1), "entry_after_open_min": 0,
}  # fmt: skip
SHARES = 12
CASH = 10**11


@contextmanager
def precise_desk(seed: int) -> Iterator["PreciseDesk"]:
    """A desk on an exchange of its own, on one of the days; its shares trade in lots, and no order may be too large."""
    start = datetime.combine(DAYS[seed % len(DAYS)], datetime.min.time(), tzinfo=IST).replace(hour=10)
    with tempfile.TemporaryDirectory(prefix="tarazu-precise-") as folder:
        exchange = small_desk.sandbox(
            Path(folder), start=f"{start:%Y-%m-%d}T09:15", more=("--stepped", "--seed", str(seed)),
            apps=(f"{APP}:{SECRET}:XF00001:{CASH}",),
        )  # fmt: skip
        with exchange as port:
            symbols = _shares(seed)
            with stepped_desk(f"http://127.0.0.1:{port}", symbols=symbols, day=start) as desk:
                yield PreciseDesk(desk, seed, symbols)


def _shares(seed: int) -> list[str]:
    """A few of the sandbox's shares, of all prices."""
    return random.Random(seed).sample([one.symbol for one in NIFTY50], SHARES)


class PreciseDesk:
    """Sends alerts in, lets the desk act, and reads the exchange's own book."""

    def __init__(self, desk: SteppedDesk, seed: int, symbols: Sequence[str]) -> None:
        self.desk, self.rng, self.number = desk, random.Random(seed * 7919), 0
        self.refused: Counter[str] = Counter()
        self.started = timezone.now()
        desk.portfolio.opening_cash_paise = CASH * 100
        desk.portfolio.save()
        publish_policy(portfolio=desk.portfolio, values=ANYTHING, actor="proof")
        publish_settings(
            portfolio=desk.portfolio, values={"max_open_groups": 1_000, "min_notional_rupees": 1}, actor="proof"
        )
        for symbol in symbols:
            share = Instrument.objects.get(symbol=symbol)
            price = desk.engine.market.quotes()[symbol].last_price
            Instrument.objects.filter(pk=share.pk).update(
                lot_size=self.rng.choice([1, 1, 1, 25, 75, 350]), freeze_quantity=self.rng.choice([None, 1_800, 5_250]),
                tick_size=max(share.tick_size, stock_tick(price, on_date=desk.now.date())),
            )  # fmt: skip
        BandKeeper(
            account=desk.account, feed=desk.feed, gateway=desk.gateway, now=lambda: desk.now, symbols=lambda: symbols
        ).look()
        self.shares = list(Instrument.objects.filter(symbol__in=symbols).order_by("symbol"))
        self.doors = [self._door(number) for number in range(4)]

    def _door(self, number: int) -> tuple[Hook, str]:
        """A hook with a ladder of its own: up to seven legs, at gaps that are on no tick."""
        legs = self.rng.randint(3, 7)
        gap, rungs = Decimal(0), []
        for place in range(legs):
            rungs.append({
                "gap_pct": str(gap), "weight_pct": str(100 // legs if place else 100 - 100 // legs * (legs - 1)),
                "take_profit_pct": str(Decimal(self.rng.randint(37, 2999)) / 1000),
            })  # fmt: skip
            gap -= Decimal(self.rng.randint(11, 1777)) / 1000
        ladder = LadderPlan.objects.create(
            portfolio=self.desk.portfolio, name=f"Odd {number}", rungs=rungs, created_by="proof"
        )
        values = {"name": f"odd {number}", "ladder": ladder, "rate_per_minute": 60_000}
        return hook_create(portfolio=self.desk.portfolio, values=values, actor="proof", wall=timezone.now())

    def alert(self) -> None:
        """In by a ladder at a price on no tick, in units, lots or rupees; or out of what is held."""
        self.number += 1
        rng, share = self.rng, self.rng.choice(self.shares)
        hook, secret = rng.choice(self.doors)
        quote = self.desk.engine.market.quotes().get(share.symbol)
        live = Group.objects.filter(portfolio=self.desk.portfolio, instrument=share).exclude(state="CLOSED").first()
        body: dict[str, object] = {"secret": secret, "symbol": share.symbol, "id": f"{self.started} {self.number}"}
        if live is not None and rng.random() < 0.4:
            body |= {"type": rng.choice(["exit", "reduce"]), "quantity": rng.randint(1, 9_999)}
        elif quote is not None:
            price = quote.last_price * Decimal(rng.randint(99_400, 100_600)) / 100_000
            size: dict[str, object] = {"quantity": rng.randint(1, 40_000)}
            if rng.random() < 0.5:
                size = {"lots": rng.randint(1, 90)} if rng.random() < 0.5 else {"amount": rng.randint(9_000, 9_000_000)}
            side = live.side if live is not None else rng.choice(["BUY", "SELL"])
            body |= {"action": side, "price": f"{price:.4f}", **size}
            if rng.random() < 0.3:
                away = Decimal(rng.randint(1_301, 7_777)) / 100_000 * (1 if side == "BUY" else -1)
                body["stop_loss"] = f"{price * (1 - away):.4f}"
        reply = receive(Knock(hook.pk, json.dumps(body).encode(), "127.0.0.1", timezone.now()))
        if reply.status >= 400:
            self.refused[reply.body["code"]] += 1

    def walk(self, alerts: int) -> None:
        for number in range(alerts):
            self.alert()
            if number % 4 == 3:  # four at a time, then the market moves
                self.desk.tick()
        self.desk.tick()

    def told(self) -> Counter[str]:
        """What became of the alerts, by state and code."""
        signals = Signal.objects.filter(portfolio=self.desk.portfolio)
        states = Counter(f"{state} {code}".strip() for state, code in signals.values_list("state", "refusal_code"))
        return states + self.refused

    def wrong(self) -> list[str]:
        """Orders that the exchange refused, or that a strict one would: read from its book and from our rows."""
        found = []
        for order in Order.objects.filter(portfolio=self.desk.portfolio, state__in=["REJECTED", "DENIED"]):
            found.append(f"{order.client_order_id} {order.instrument.symbol}: {order.broker_message or order.state}")
        facts = {one.symbol: one for one in self.shares}
        today = PriceBand.objects.filter(feed=self.desk.feed, session_date=exchange_date(self.desk.now))
        bands = {one.instrument.symbol: (one.lower, one.upper) for one in today.select_related("instrument")}
        opens = set(Order.objects.filter(reason="ENTRY").values_list("client_order_id", flat=True))
        for sent in self.desk.gateway.orders():
            share = facts[sent.symbol]
            # This exchange fills single units: what was bought in part of a lot has to leave as it came.
            if sent.client_order_id in opens and sent.quantity % share.lot_size:
                found.append(
                    f"{sent.broker_order_id} {sent.symbol}: {sent.quantity} is no multiple of {share.lot_size}"
                )
            if sent.status is BrokerStatus.REJECTED:
                found.append(f"{sent.broker_order_id} {sent.symbol}: {sent.message}")
            found += [f"{sent.broker_order_id} {sent.symbol}: {said}" for said in _faults(sent, share, bands)]
        return found

    def sent(self) -> int:
        return len(self.desk.gateway.orders())


def _faults(sent: BookOrder, share: Instrument, bands: dict[str, tuple[Decimal, Decimal]]) -> Iterator[str]:
    """In whole paise and units, without a function of the desk."""
    tick = int(share.tick_size * 10_000)
    if share.freeze_quantity is not None and sent.quantity > share.freeze_quantity:
        yield f"{sent.quantity} is above the freeze quantity {share.freeze_quantity}"
    for price in (sent.limit_price, sent.trigger_price):
        if not price:
            continue
        if int(price * 10_000) % tick or price * 10_000 != int(price * 10_000):
            yield f"{price} is not on the tick {share.tick_size}"
        lower, upper = bands[share.symbol]
        if not lower <= price <= upper:
            yield f"{price} is outside {lower} to {upper}"
