"""The law of winners that pay for losers, on the desk of the engine's machine whose shares part ways.

A plan never closes more than is needed, and never loses on the pair beyond what the guard allows between the planned
prices and those that were traded at. Both are told by the broker's trades alone. Whatever else holds for the engine
holds here too.
"""

import os
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from execution.brokers.port import BookOrder, Tick
from execution.engine_settings import publish_settings
from execution.models import EngineSettings, Group, LadderPlan, OffsetLine, OffsetMark, OffsetPlan, Order
from execution.services.offset_acts import offset_block, offset_skip_once, offset_unblock
from execution.services.offset_run import offset_run
from strategies.tactics.offsets import slippage_pct
from tests.factories.world import running_engine
from tests.many_trades import OFFSETS
from tests.property.test_engine_machine import EngineMachine
from tests.prove.trial import grow_older
from trading.domain.money import to_paise
from trading.domain.orders import Side
from trading.marketdata.models import Instrument

WIDE = [
    {"gap_pct": gap, "weight_pct": weight, "take_profit_pct": profit}
    for gap, weight, profit in (("0", "60", "30"), ("-1", "30", "25"), ("-2", "10", "20"))
]
PRICES = st.sampled_from(["765.00", "790.00", "796.00", "805.00", "812.35", "830.00", "850.00", "900.00"])
APART = st.sampled_from([("765.00", "900.00"), ("790.00", "850.00"), ("900.00", "765.00"), ("850.00", "796.00")])
Action = EngineSettings.SlippageAction
LOSS, GUARD, MOST, LEAST_RUPEES = Decimal(2), Decimal("0.5"), 2, 500
ODD_PAISE = 100
"""What sums in whole paise may be off by: prices of four decimals, costs shared out over units."""


@dataclass
class Seen:
    """What the machine knows of a plan: trades at the broker before it, whether its guard only warned at some time, and
    the loser's price as its end was asked for."""

    trades_before: int
    warned: bool = False
    asked_at: Decimal | None = None


class OffsetMachine(EngineMachine):
    """Two trades without a stop and room for a third, in shares that win and lose."""

    @initialize(apart=APART, parts=st.lists(st.sampled_from([0, 1, 1, 1, 2]), max_size=6))
    def begin(self, apart: tuple[str, str], parts: list[int]) -> None:
        self.prices: dict[str, str] = {}
        self.plans: dict[int, Seen] = {}
        super().begin()
        LadderPlan.objects.create(portfolio=self.desk.portfolio, name="Wide", rungs=WIDE, created_by="test")
        self.tell(Action.LIMIT)
        for share in (0, 1):
            self.alert(kind="ENTRY", side=Side.BUY, share=share, quantity=60, has_stop=False, copies=1)
        self.turn(times=2)
        self.trade(part=1)
        self.turn(times=2)
        assert self.groups().filter(state__in=Group.HELD).count() == 2
        self.the_shares_part_ways(apart)
        for part in parts:  # a plan is made, and goes some of its way
            self.the_engine_works(part=part, looks=True)

    def tell(self, action: str) -> None:
        values = OFFSETS | {
            "offset_loss_pct": LOSS, "max_open_groups": 2, "ladder": "Wide", "aggregate_target_pct": "30",
            "slippage_action": action, "slippage_guard_pct": GUARD, "offset_max_winners": MOST,
            "offset_min_close_rupees": LEAST_RUPEES,
        }  # fmt: skip
        publish_settings(portfolio=self.desk.portfolio, values=values, actor="test")
        self.action = action

    # -- the market: a share trades where it is, and an order where its limit lets it

    def price_of(self, share: Instrument) -> str:
        return self.prices.get(share.symbol, "812.35")

    def traded_at(self, order: BookOrder, price: str) -> str:
        return self.prices.get(order.symbol, "812.35")

    def at_work(self, *, stops: bool) -> list[BookOrder]:
        return [order for order in super().at_work(stops=stops) if self.may_trade(order)]

    def may_trade(self, order: BookOrder) -> bool:
        price = Decimal(self.prices.get(order.symbol, "812.35"))
        if order.trigger_price is not None and (price - order.trigger_price) * order.side.sign < 0:
            return False
        return order.limit_price is None or (price - order.limit_price) * order.side.sign <= 0

    # -- what happens

    # What the other machines are about leaves its place to plans: tickets, cancels, news again, how profit is taken.
    ask = cancel_what_rests = news_again_in_any_order = compare = the_trades_come = None  # type: ignore[assignment]
    trades_that_only_the_order_book_counts = tick = settings_change = None  # type: ignore[assignment]

    def turn(self, times: int) -> None:
        super().turn(times)  # a rule no more: `the_engine_works` has it

    @rule(action=st.sampled_from(Action.values))
    def guard_changes(self, action: str) -> None:
        self.tell(action)

    @rule(share=st.integers(0, 2), price=PRICES, heard=st.booleans())
    def the_market_moves(self, share: int, price: str, heard: bool) -> None:
        found = self.shares[share]
        self.prices[found.symbol] = price
        self.fresh()
        if heard:
            self.desk.engine.watch_groups()
            self.desk.engine.hear_ticks([Tick(found.symbol, Decimal(price), 1000, self.desk.now[0])])

    @rule(apart=APART)
    def the_shares_part_ways(self, apart: tuple[str, str]) -> None:
        for share, price in enumerate(apart):
            self.the_market_moves(share=share, price=price, heard=False)

    @rule(part=st.sampled_from([1, 1, 2, 3]))
    def trade(self, part: int) -> None:
        super().trade(price="", part=part, stops=True)

    @rule(times=st.integers(1, 2))
    def look(self, times: int) -> None:
        """A second look at once, by another process, finds what the first one did."""
        running_engine(self.desk.account)
        self.fresh()
        grow_older(self.desk.account.pk, 2)
        for _ in range(times):
            offset_run(account_id=self.desk.account.pk, now=self.desk.now[0])
        self.laws_of_offsets()  # a plan is seen before anything of it trades

    @rule(part=st.sampled_from([0, 1, 1, 2, 3]), looks=st.booleans())
    def the_engine_works(self, part: int, looks: bool) -> None:
        """What it does in some seconds: it looks, sends, hears; the market takes some of it, or nothing."""
        if looks:
            self.look(times=1)
        self.turn(times=2)
        if part:
            self.trade(part=part)
            self.turn(times=1)

    @precondition(lambda self: self.is_under_way())
    @rule(parts=st.lists(st.sampled_from([1, 1, 2]), min_size=1, max_size=4))
    def a_plan_goes_on(self, parts: list[int]) -> None:
        for part in parts:
            self.the_engine_works(part=part, looks=True)

    def is_under_way(self) -> bool:
        return OffsetPlan.objects.filter(portfolio=self.desk.portfolio, state__in=OffsetPlan.LIVE).exists()

    @precondition(lambda self: self.groups().filter(state__in=Group.HELD).exists())
    @rule(act=st.sampled_from([offset_block, offset_skip_once, offset_unblock]), which=st.integers(0, 1))
    def somebody_marks(self, act: object, which: int) -> None:
        held = list(self.groups().filter(state__in=Group.HELD).order_by("created_at"))
        act(group_id=held[which % len(held)].pk, actor="me")  # type: ignore[operator]

    # -- what always holds

    @invariant()
    def laws_of_offsets(self) -> None:
        if not hasattr(self, "action"):
            return
        plans = list(OffsetPlan.objects.filter(portfolio=self.desk.portfolio).order_by("pk"))
        assert sum(plan.is_live for plan in plans) <= 1, "one plan at a time"
        for plan in plans:
            loser, *winners = plan.lines.select_related("group__instrument").order_by("rank")
            seen = self.plans.get(plan.pk)
            if seen is None:
                seen = self.plans[plan.pk] = Seen(len(self.desk.broker.facts))
                self.asks_for_no_more_than_it_needs(plan, loser, winners)
            seen.warned |= plan.is_live and self.action == Action.WARN
            for line in winners:
                self.sells_no_more_than_planned(line, seen)
            if loser.asked_at is not None and seen.asked_at is None:
                seen.asked_at = Decimal(self.price_of(loser.group.instrument))
                self.is_paid_for(loser, winners, seen)
            if plan.state == OffsetPlan.State.DONE:
                self.lost_nothing_but_slippage(loser, winners, seen)
            assert loser.asked_at or loser.group.close_reason != "OFFSET", "it was given up, and no plan says so"

    def asks_for_no_more_than_it_needs(self, plan: OffsetPlan, loser: OffsetLine, winners: list[OffsetLine]) -> None:
        marks = OffsetMark.objects.filter(group__offset_lines__plan=plan, ended_at=None)
        assert not marks.exists(), "what a person keeps out of it is not touched"
        assert 1 <= len(winners) <= MOST and loser.role == "LOSER"
        required = -earned(loser, loser.planned_price, loser.quantity)
        assert required == plan.required_paise > 0 and required * 100 >= LOSS * loser.cost_paise
        gains = [earned(line, line.planned_price, line.quantity) for line in winners]
        assert all(gain > 0 for gain in gains) and sum(gains) >= required, "what does not pay is not begun"
        last, fewer = winners[-1], winners[-1].quantity - 1
        needed = sum(gains[:-1]) + earned(last, last.planned_price, fewer) < required if fewer else True
        least = fewer * last.planned_price < LEAST_RUPEES
        assert needed or least, "one unit fewer would have paid as well"
        for line in (loser, *winners):
            facts = [one for one in self.desk.broker.facts if one.symbol == line.group.instrument.symbol]
            net = sum(one.side.sign * one.quantity for one in facts) * Side(line.group.side).sign
            assert line.quantity <= net, "more than is held"

    def sells_no_more_than_planned(self, line: OffsetLine, seen: Seen) -> None:
        sold = self.traded(line, seen)
        assert sum(quantity for quantity, _ in sold) <= line.quantity, "more than was planned"
        side = Side(line.group.side).opposite
        assert all(line.limit_price is None or (price - line.limit_price) * side.sign <= 0 for _, price in sold)

    def is_paid_for(self, loser: OffsetLine, winners: list[OffsetLine], seen: Seen) -> None:
        """As its end is asked for: its price is inside the band, and what was sold pays for it but for the guard."""
        assert seen.asked_at is not None
        if seen.warned:
            return
        side = Side(loser.group.side).opposite
        assert slippage_pct(side, loser.planned_price, seen.asked_at) <= GUARD, "given up outside the band"
        loss = -earned(loser, seen.asked_at, loser.quantity)
        assert self.brought(winners, seen) + allowed(loser, *winners) + ODD_PAISE >= loss > 0, "nobody pays for it"

    def lost_nothing_but_slippage(self, loser: OffsetLine, winners: list[OffsetLine], seen: Seen) -> None:
        assert seen.asked_at is not None
        exits = self.traded(loser, seen)
        units = sum(quantity for quantity, _ in exits)
        worth = sum((quantity * price for quantity, price in exits), Decimal(0))
        counted = min(units, loser.quantity)
        result = earned(loser, worth / units, counted) + self.brought(winners, seen)
        slipped = max(Fraction(0), earned(loser, seen.asked_at, counted) - earned(loser, worth / units, counted))
        if seen.warned:  # closed and told: then the winners, too, may have slipped by more than the guard
            for line in winners:
                sold = self.traded(line, seen)
                slipped += sum(
                    max(Fraction(0), earned(line, line.planned_price, of) - earned(line, at, of)) for of, at in sold
                )
            slipped += max(
                Fraction(0), earned(loser, loser.planned_price, counted) - earned(loser, seen.asked_at, counted)
            )
        assert result + allowed(loser, *winners) + slipped + ODD_PAISE >= 0, "the pair lost more than slippage"

    def brought(self, winners: list[OffsetLine], seen: Seen) -> Fraction:
        return sum((earned(line, at, of) for line in winners for of, at in self.traded(line, seen)), Fraction(0))

    def traded(self, line: OffsetLine, seen: Seen) -> list[tuple[int, Decimal]]:
        """Units and prices of what the broker closed of a line: of its part; of the loser, of all of it since."""
        orders = Order.objects.filter(group=line.group_id, side=Side(line.group.side).opposite)
        if line.role == OffsetLine.Role.WINNER:
            orders = orders.filter(intent__part=line.part_id) if line.part_id else orders.none()
        numbers = set(orders.values_list("broker_order_id", flat=True))
        facts = self.desk.broker.facts[seen.trades_before :]
        return [(one.quantity, one.price) for one in facts if one.broker_order_id in numbers]


def earned(line: OffsetLine, price: Decimal, quantity: int) -> Fraction:
    """Paise before charges of so many units of a line, sold (or bought back) at a price."""
    cost = Fraction(line.cost_paise * quantity, line.quantity)
    return Side(line.group.side).sign * (Fraction(price) * 100 * quantity - cost)


def allowed(*lines: OffsetLine) -> Fraction:
    """What the guard allows all of them together to trade worse than planned."""
    return sum((to_paise(line.planned_price * line.quantity) * Fraction(GUARD) / 100 for line in lines), Fraction(0))


EXAMPLES = int(os.environ.get("OFFSET_EXAMPLES", "3"))
STEPS = settings(
    max_examples=EXAMPLES, stateful_step_count=12, deadline=None, derandomize=EXAMPLES == 3, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.django_db
def test_winners_pay_for_no_more_and_the_pair_loses_nothing_but_slippage(valkey):
    run_state_machine_as_test(OffsetMachine, settings=STEPS)
