"""A desk in the middle of its day: positions that win and lose, one that closes, signals taken and refused, alerts."""

import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from accounts.models import User
from execution.models import Group, Order, OrderEvent
from tests.factories import (
    AssessmentFactory,
    ClosedTradeFactory,
    DeploymentFactory,
    FillFactory,
    GroupFactory,
    InstrumentFactory,
    IntentFactory,
    OrderFactory,
    PositionFactory,
    SignalFactory,
)
from tests.factories.world import World, open_market
from trading.domain.money import to_paise
from trading.marketdata.clocks import venue_now
from trading.marketdata.quotes import Quote, store_quotes
from trading.monitoring.models import Alert
from trading.portfolio.models import EquityPoint, TradingDay
from trading.venue.sessions import exchange_date, session_on

HELD = [  # symbol, quantity, average, last price, stop, target
    ("SBIN", 150, "812.35", "818.90", "804.20", "828.60"),
    ("RELIANCE", 60, "1421.30", "1409.85", "1407.00", "1449.90"),
    ("HDFCBANK", -80, "1702.50", "1694.10", "1719.50", "1668.50"),
    ("INFY", 45, "1588.00", "1588.00", "1572.00", "1620.00"),
]
GATES = [
    ("STOP_REQUIRED", "PASS", "804.20", "", "A stop is set."),
    ("RISK_PER_TRADE", "SHRINK", "₹1,847", "₹1,250", "Risk to the stop is kept within 1 % of equity: shrunk to 150."),
    ("POSITION_SIZE", "PASS", "12.18 %", "20 %", "12.18 % of equity in one instrument."),
    ("DAILY_LOSS", "PASS", "0.12 %", "5 %", "The day is within its loss limit."),
    ("PRICE_COLLAR", "PASS", "0.06 %", "3 %", "The price is near the last traded one."),
]


LONG = "EMA 9 crossed above EMA 21 on the 5-minute bar and RSI stands at 58.3, above 50."
SHORT = "EMA 9 crossed below EMA 21 on the 5-minute bar and RSI stands at 41.7, below 50."


@dataclass
class FullDesk:
    world: World
    groups: list[Group]
    orders: list[Order]
    now: datetime

    @property
    def user(self) -> User:
        return self.world.user


def full_desk(*, name: str = "Paper ₹10 lakh") -> FullDesk:
    world = open_market(name=name)
    portfolio, feed = world.portfolio, world.feed
    now = venue_now(feed.name)
    wall = timezone.now()
    deployment = DeploymentFactory(portfolio=portfolio)
    contract = deployment.version.contract
    contract.name = "EMA 9/21 with RSI filter"
    contract.save()
    quotes = [
        _quote("NSE:NIFTY50-INDEX", "24718.60", "24618.05", now),
        _quote("NSE:NIFTYBANK-INDEX", "52190.15", "52311.40", now),
    ]
    groups, orders = [], []
    for number, (ticker, quantity, average, last, stop, target) in enumerate(HELD):
        instrument = InstrumentFactory(symbol=f"NSE:{ticker}-EQ", name=f"{ticker.title()} Limited")
        side = "BUY" if quantity > 0 else "SELL"
        at = now - timedelta(minutes=70 - 12 * number)
        signal = SignalFactory(
            portfolio=portfolio,
            deployment=deployment,
            instrument=instrument,
            side=side,
            state="ACCEPTED",
            entry=Decimal(average),
            stop=Decimal(stop),
            target=Decimal(target),
            bar_at=at,
            features={"ema9": 812.1, "rsi": 58.3},
            explanation=LONG if quantity > 0 else SHORT,
        )
        group = GroupFactory(
            portfolio=portfolio,
            instrument=instrument,
            side=side,
            signal=signal,
            stop_price=Decimal(stop),
            target_price=Decimal(target),
            state="ACTIVE",
            opened_at=at,
            created_at=wall,
        )
        intent = IntentFactory(
            group=group,
            signal=signal,
            source="SIGNAL",
            limit_price=Decimal(average),
            wanted_quantity=abs(quantity) + 70,
            allowed_quantity=abs(quantity),
            actor="scanner",
        )
        AssessmentFactory(
            portfolio=portfolio, intent_id=intent.pk, at=at, allowed_quantity=abs(quantity),
            said=[
                [gate, outcome, abs(quantity), value, limit, message] for gate, outcome, value, limit, message in GATES
            ],
        )  # fmt: skip
        cost = to_paise(Decimal(average) * quantity)
        order = OrderFactory(
            intent=intent,
            state="FILLED",
            filled_quantity=abs(quantity),
            fill_value_paise=abs(cost),
            placed_at=at,
            charges_paise=4310,
            arrival_price=Decimal(average) - Decimal("0.10"),
            sent_at=wall,
            acked_at=wall + timedelta(milliseconds=31),
        )
        for seq, (kind, before, after) in enumerate(
            [
                ("order.queued", "", "QUEUED"),
                ("order.sending", "QUEUED", "SENDING"),
                ("order.acked", "SENDING", "ACKED"),
                ("order.filled", "ACKED", "FILLED"),
            ],
            1,
        ):
            OrderEvent.objects.create(
                order=order,
                seq=seq,
                kind=kind,
                source="ENGINE" if seq < 4 else "SOCKET",
                from_state=before,
                to_state=after,
                at=wall + timedelta(milliseconds=9 * seq),
                detail={"quantity": str(abs(quantity))} if seq in (1, 4) else {},
            )
        first = abs(quantity) // 3
        FillFactory(order=order, quantity=first, price=Decimal(average), filled_at=at)
        FillFactory(
            order=order, quantity=abs(quantity) - first, price=Decimal(average), filled_at=at + timedelta(seconds=2)
        )
        PositionFactory(
            portfolio=portfolio,
            instrument=instrument,
            net_quantity=quantity,
            cost_paise=cost,
            charges_paise=4310,
            opened_at=at,
            updated_at=at,
        )
        exit_intent = IntentFactory(
            group=group,
            side="SELL" if quantity > 0 else "BUY",
            reason="STOP",
            source="SYSTEM",
            order_type="STOP",
            limit_price=None,
            trigger_price=Decimal(stop),
            wanted_quantity=abs(quantity),
        )
        orders += [
            order,
            OrderFactory(intent=exit_intent, state="OPEN", trigger_price=Decimal(stop), placed_at=at, limit_price=None),
        ]
        groups.append(group)
        quotes.append(_quote(instrument.symbol, last, average, now))
    for number, (ticker, code, why) in enumerate(
        [
            ("TATAMOTORS", "MAX_OPEN_POSITIONS", "All slots of the portfolio are taken."),
            ("ICICIBANK", "COOLDOWN", "It was stopped out 12 minutes ago; entries wait for 30."),
        ]
    ):
        refused = InstrumentFactory(symbol=f"NSE:{ticker}-EQ", name=f"{ticker.title()} Limited")
        SignalFactory(
            portfolio=portfolio,
            deployment=deployment,
            instrument=refused,
            state="REFUSED",
            refusal_code=code,
            refusal=why,
            bar_at=now - timedelta(minutes=4 + number),
            explanation="EMA 9 crossed above EMA 21 and RSI stands at 61.0, above 50.",
        )
        quotes.append(_quote(refused.symbol, "702.35", "700.00", now))
    for number, (ticker, gross, reason) in enumerate(
        [
            ("TCS", 184_250, "TARGET"),
            ("ITC", -61_300, "STOP"),
            ("SUNPHARMA", 92_700, "TARGET"),
            ("ICICIBANK", -48_125, "STOP"),
        ]
    ):
        traded = InstrumentFactory(symbol=f"NSE:{ticker}-EQ", name=f"{ticker.title()} Limited")
        ClosedTradeFactory(
            portfolio=portfolio,
            instrument=traded,
            quantity=100,
            entry_value_paise=3_500_000,
            exit_value_paise=3_500_000 + gross,
            gross_paise=gross,
            charges_paise=4_870,
            exit_reason=reason,
            closed_at=now - timedelta(minutes=20 * (number + 1)),
        )
    store_quotes(feed.name, quotes)
    Alert.objects.create(
        owner_id=world.user.pk,
        level="WARNING",
        code="PRICES_LATE",
        message="Prices of 2 instruments are older than 30 s.",
        next_step="Entries in them wait until prices are fresh.",
        dedupe_key="late",
        first_at=wall,
        last_at=wall,
    )
    TradingDay.objects.update_or_create(
        portfolio=portfolio, session_date=exchange_date(now), defaults={"opening_equity_paise": 99_904_000}
    )
    _curve(portfolio, now)
    return FullDesk(world, groups, orders, now)


def _quote(symbol: str, last: str, previous: str, now: datetime) -> Quote:
    return Quote(symbol, Decimal(last), None, None, Decimal(previous), 120_000, now, time.time())


def _curve(portfolio, now: datetime) -> None:
    session = session_on(exchange_date(now), assume_weekdays=True)
    start = session.opens_at if session and session.opens_at < now else now - timedelta(hours=2)
    worth, points, at, chance = 99_904_000, [], start, random.Random(7)
    while at < now:
        worth += round(chance.gauss(1_750, 9_000))
        points.append(
            EquityPoint(
                portfolio=portfolio,
                at=at,
                session_date=exchange_date(now),
                equity_paise=worth,
                day_pnl_paise=worth - 99_904_000,
            )
        )
        at += timedelta(minutes=1)
    EquityPoint.objects.bulk_create(points)
