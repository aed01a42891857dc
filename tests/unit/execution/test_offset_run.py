"""Winners pay for a loser, from the look to the last booked fill, and whatever happens between."""

from datetime import timedelta
from decimal import Decimal

import pytest

from execution.engine_settings import settings_of
from execution.models import Group, OffsetMark, OffsetPlan, OffsetWatch, Order, QueuedSignal
from execution.offset_facts import trades_of
from execution.offset_panel import offset_panel
from execution.services.group_exit import group_exit
from execution.services.kill_switch_pull import kill_switch_pull
from execution.services.offset_acts import offset_block, offset_run_now, offset_skip_once, offset_unblock
from execution.services.offset_run import offset_look
from risk.kill_switch import of_portfolio
from risk.policies import publish_policy
from tests.factories.engine import hook_signal
from tests.many_trades import ENTRY, ManyTrades
from tests.small_broker import Refuse
from trading.audit.models import AuditEntry
from trading.domain.crashpoint import POINTS, arm
from trading.domain.errors import Conflict, NotAllowed
from trading.domain.orders import Reason, Side
from trading.marketdata.quotes import drop_quotes
from trading.monitoring.models import Alert
from trading.portfolio.models import ClosedTrade


@pytest.fixture
def trades(desk) -> ManyTrades:
    """A loser of 6.4 % (₹523.50), and a winner of 10.8 % (₹876.50)."""
    many = ManyTrades(desk)
    many.open("loser", "winner")
    many.prices |= {"loser": "760.00", "winner": "900.00"}
    return many


def state(group: Group) -> str:
    return Group.objects.get(pk=group.pk).state


def told(code: str) -> bool:
    return Alert.objects.filter(code=code).exists()


def sell(trades: ManyTrades, price: str = "900.00") -> None:
    """The winner's part is asked for, sent, and trades."""
    trades.run()
    trades.turn(3)
    trades.fill_exit("winner", price)
    trades.turn(2)


def test_a_part_of_the_winner_pays_and_then_the_loser_is_closed(trades):
    assert trades.run() == 1
    plan = trades.plan()
    assert (plan.state, plan.required_paise, plan.covered_paise) == ("CLOSING_WINNERS", 523_50, 525_90)
    assert [(part.quantity, part.reason) for part in trades.parts()] == [(6, "OFFSET")]
    trades.turn(3)
    assert trades.working_exit("winner").limit_price == Decimal("895.50")  # half a percent below
    assert trades.working_exit("loser") is None and not trades.groups["loser"].close_reason
    trades.fill_exit("winner", "899.50")
    trades.turn(2)
    trades.run()
    assert trades.plan().state == "CLOSING_LOSER"
    winner = trades.line("winner")
    assert (winner.state, winner.closed_quantity, winner.gross_paise) == ("DONE", 6, 522_90)
    assert winner.slippage_pct == Decimal("0.0556") and winner.realised_paise < winner.gross_paise
    trades.turn(3)
    trades.fill_exit("loser", "760.00")
    trades.turn(2)
    trades.run()
    plan = trades.plan()
    assert (plan.state, plan.code) == ("DONE", "") and plan.ended_at
    loser = trades.line("loser")
    assert (loser.closed_quantity, loser.gross_paise) == (10, -523_50)
    assert plan.realised_paise == winner.realised_paise + loser.realised_paise
    assert state(trades.groups["loser"]) == "CLOSED" and state(trades.groups["winner"]) == "ACTIVE"
    assert (trades.held("winner"), trades.held("loser")) == (4, 0)
    assert trades.desk.stop_of(trades.groups["winner"]).quantity == 4, "what is left of the winner stays protected"
    assert ClosedTrade.objects.get().exit_reason == "OFFSET"
    assert {"offset.planned", "offset.done"} <= set(AuditEntry.objects.values_list("action", flat=True))


def test_a_short_is_paid_for_by_another_short(desk):
    many = ManyTrades(desk)
    many.open("loser", "winner", side=Side.SELL)
    many.prices |= {"loser": "864.70", "winner": "724.70"}
    many.run()
    many.turn(3)
    assert many.working_exit("winner").side is Side.BUY
    many.fill_exit("winner", "724.70")
    many.turn(2)
    many.run()
    many.turn(3)
    many.fill_exit("loser", "864.70")
    many.turn(2)
    many.run()
    assert (many.plan().state, many.line("winner").gross_paise, many.line("loser").gross_paise) == (
        "DONE", 525_90, -523_50,
    )  # fmt: skip


def test_nothing_is_touched_where_the_winners_cannot_pay(trades):
    trades.prices["winner"] = "860.00"
    assert trades.run() == 0
    assert not OffsetPlan.objects.exists() and not trades.parts()
    assert OffsetWatch.objects.get().code == "NOT_COVERED"


def test_switched_off_nothing_happens_and_a_person_may_still_ask(trades):
    trades.tell(offset_enabled=False)
    assert trades.run() == 0 and not OffsetPlan.objects.exists()
    plan = offset_run_now(portfolio_id=trades.desk.portfolio.pk, actor="asha", now=trades.desk.now[0])
    assert (plan.state, plan.actor) == ("PLANNED", "asha")
    with pytest.raises(Conflict) as refusal:
        offset_run_now(portfolio_id=trades.desk.portfolio.pk, actor="asha", now=trades.desk.now[0])
    assert refusal.value.code == "OFFSET_LIVE"
    assert trades.run() == 1 and trades.parts()


def test_a_person_hears_why_there_is_nothing_to_do(trades):
    trades.prices["loser"] = "812.35"
    trades.beat()
    with pytest.raises(NotAllowed) as refusal:
        offset_run_now(portfolio_id=trades.desk.portfolio.pk, actor="asha", now=trades.desk.now[0])
    assert refusal.value.code == "NO_LOSER"


def test_one_plan_at_a_time_and_looks_at_their_interval(trades):
    trades.tell(offset_every_s=3600)
    trades.run()
    assert offset_look(portfolio_id=trades.desk.portfolio.pk, actor="the clock", now=trades.desk.now[0]) is None
    assert OffsetPlan.objects.count() == 1
    OffsetPlan.objects.update(state="DONE")
    assert trades.run() == 0 and OffsetPlan.objects.count() == 1, "its time has not come"
    trades.open("another")
    assert OffsetPlan.objects.count() == 1
    trades.prices["loser"] = "760.00"
    trades.run()
    assert OffsetPlan.objects.count() == 2 and trades.plan().actor == "a fill"


def test_the_panel_shows_what_would_be_done_and_writes_nothing(trades):
    trades.beat()
    panel = offset_panel(trades.desk.portfolio, now=trades.desk.now[0])
    assert panel.enabled and panel.live is None and not OffsetPlan.objects.exists()
    assert panel.look.plan.loser.trade.key == str(trades.groups["loser"].pk)
    assert [(one.trade.label, one.quantity) for one in panel.look.plan.winners] == [("WINNER", 6)]
    trades.run()
    panel = offset_panel(trades.desk.portfolio, now=trades.desk.now[0])
    assert panel.live == trades.plan() and len(panel.live.lines.all()) == 2


# -- what people say ---------------------------------------------------------------------------------------------------


def test_a_blocked_loser_is_kept_and_a_blocked_winner_does_not_pay(trades):
    loser, winner = trades.groups["loser"], trades.groups["winner"]
    assert offset_block(group_id=loser.pk, actor="asha") and not offset_block(group_id=loser.pk, actor="asha")
    assert trades.run() == 0 and OffsetWatch.objects.get().code == "NONE_ELIGIBLE"
    assert offset_unblock(group_id=loser.pk, actor="asha") and not offset_unblock(group_id=loser.pk, actor="asha")
    offset_block(group_id=winner.pk, actor="asha")
    trades.later(10)
    assert trades.run() == 0 and OffsetWatch.objects.get().code == "NOT_COVERED"
    offset_unblock(group_id=winner.pk, actor="asha")
    trades.later(10)
    assert trades.run() == 1


def test_a_skip_is_used_when_its_turn_comes_and_its_wait_begins_anew(trades):
    trades.tell(offset_wait_s=600)
    loser = trades.groups["loser"]
    offset_skip_once(group_id=loser.pk, actor="asha")
    assert trades.run() == 0
    assert OffsetMark.objects.get().ended_at is None, "its wait was not over: it was not its turn"
    Group.objects.update(created_at=loser.created_at - timedelta(hours=1))
    trades.later(10)
    assert trades.run() == 0
    assert OffsetMark.objects.get().ended_by == "its turn"
    trades.later(10)
    assert trades.run() == 0 and "wait" in OffsetWatch.objects.get().said


# -- what happens between ----------------------------------------------------------------------------------------------


def test_a_plan_that_nobody_began_in_time_is_dropped(trades):
    trades.beat()
    offset_run_now(portfolio_id=trades.desk.portfolio.pk, actor="asha", now=trades.desk.now[0])
    trades.later(61)
    trades.run()
    assert (trades.plan().state, trades.plan().code) == ("ABANDONED", "STALE")
    assert not trades.parts() and not OffsetMark.objects.exists()


def test_a_loser_that_recovers_before_anything_is_sold_ends_the_plan(trades):
    trades.beat()
    offset_run_now(portfolio_id=trades.desk.portfolio.pk, actor="asha", now=trades.desk.now[0])
    trades.prices["loser"] = "800.00"
    trades.run()
    assert (trades.plan().code, trades.parts()) == ("RECOVERED", [])


def test_a_loser_that_recovers_while_winners_sell_is_kept_and_the_rest_is_taken_back(trades):
    trades.run()
    trades.turn(3)
    trades.fill_exit("winner", "900.00", 2)
    trades.prices["loser"] = "812.40"
    trades.turn(1)
    trades.run()
    trades.turn(3)
    trades.run()
    plan = trades.plan()
    assert (plan.state, plan.code) == ("ABANDONED", "RECOVERED") and told("OFFSET_ABANDONED")
    assert (trades.held("winner"), trades.held("loser")) == (8, 10)
    assert trades.working_exit("winner") is None
    trades.turn(2)
    assert trades.desk.stop_of(trades.groups["winner"]).quantity == 8
    assert OffsetMark.objects.get(ended_at=None).group == trades.groups["loser"], "no winner is sold for it again"


def test_a_loser_that_is_closed_by_something_else_takes_the_rest_of_the_winners_back(trades):
    trades.run()
    trades.turn(3)
    group_exit(group_id=trades.groups["loser"].pk, reason=Reason.STOP, actor="the price")
    trades.run()
    trades.turn(3)
    trades.run()
    assert (trades.plan().state, trades.plan().code) == ("ABANDONED", "LOSER_ENDED")
    assert (trades.held("winner"), trades.working_exit("winner")) == (10, None)


def test_a_winner_that_closes_by_itself_has_paid_all_the_same(trades):
    trades.run()
    group_exit(group_id=trades.groups["winner"].pk, reason=Reason.TARGET, actor="the price")
    trades.turn(4)
    trades.fill_exit("winner", "905.00")
    trades.turn(2)
    trades.run()
    line = trades.line("winner")
    assert (line.state, line.closed_quantity, line.gross_paise) == ("ELSEWISE", 6, 555_90)
    assert trades.plan().state == "CLOSING_LOSER"
    assert Group.objects.get(pk=trades.groups["loser"].pk).close_reason == "OFFSET"


def test_winners_that_do_not_sell_in_time_are_taken_back(trades):
    trades.run()
    trades.turn(3)
    trades.later(121)
    trades.run()
    trades.turn(3)
    trades.run()
    assert (trades.plan().state, trades.plan().code) == ("ABANDONED", "SHORT")
    assert trades.held("winner") == 10 and not told("EXIT_REFUSED") and trades.working_exit("winner") is None


def test_a_refused_part_is_given_up_and_the_loser_kept(trades):
    trades.run()
    trades.turn(1)  # the stop has become smaller; the next call is the part's
    trades.desk.broker.answers.extend([Refuse()] * 9)
    trades.turn(6)
    refused = Order.objects.filter(reason="OFFSET")
    assert {order.state for order in refused} == {"REJECTED"} and told("PART_REFUSED")
    trades.desk.broker.answers.clear()
    trades.later(121)
    trades.run()
    trades.run()
    assert (trades.plan().state, trades.plan().code) == ("ABANDONED", "SHORT")
    trades.turn(3)
    assert (trades.held("winner"), trades.held("loser")) == (10, 10)
    assert trades.desk.stop_of(trades.groups["winner"]).quantity == 10


def test_a_pulled_kill_switch_plans_nothing_and_stops_what_is_under_way(trades):
    trades.run()
    trades.turn(3)
    scope = of_portfolio(trades.desk.portfolio)
    kill_switch_pull(scope=scope, level=3, reason="a test", actor="asha", now=trades.desk.now[0])
    trades.run()
    trades.turn(3)
    trades.run()
    assert (trades.plan().state, trades.plan().code) == ("ABANDONED", "KILL_SWITCH")
    trades.later(10)
    assert trades.run() == 0 and OffsetPlan.objects.count() == 1


def test_a_trade_in_quarantine_is_left_alone(trades):
    Group.objects.filter(pk=trades.groups["winner"].pk).update(quarantined=True)
    assert trades.run() == 0 and OffsetWatch.objects.get().code == "NOT_COVERED"


def test_without_a_fresh_price_nothing_is_planned(trades):
    trades.instruments.pop("winner")
    drop_quotes(trades.desk.world.feed.name)
    assert trades.run() == 0 and OffsetWatch.objects.get().code == "NOT_COVERED"


# -- the guard ---------------------------------------------------------------------------------------------------------


def test_the_guard_waits_for_the_loser_to_come_back_into_the_band(trades):
    sell(trades)
    trades.prices["loser"] = "755.00"  # 0.66 % worse than planned
    trades.run()
    assert trades.plan().state == "CLOSING_LOSER" and not Group.objects.get(pk=trades.groups["loser"].pk).close_reason
    trades.prices["loser"] = "757.00"
    trades.run()
    assert Group.objects.get(pk=trades.groups["loser"].pk).close_reason == "OFFSET"


def test_the_guard_gives_up_where_the_loser_does_not_come_back(trades):
    sell(trades)
    trades.prices["loser"] = "755.00"
    trades.run()
    trades.later(121)
    trades.run()
    assert (trades.plan().state, trades.plan().code) == ("ABANDONED", "BEYOND_BAND")
    assert trades.held("loser") == 10 and told("OFFSET_ABANDONED")


def test_the_guard_may_refuse_at_once(trades):
    trades.tell(slippage_action="REJECT")
    trades.beat()
    offset_run_now(portfolio_id=trades.desk.portfolio.pk, actor="asha", now=trades.desk.now[0])
    trades.prices["winner"] = "890.00"
    trades.run()
    assert (trades.plan().code, trades.parts()) == ("BEYOND_BAND", [])


def test_the_guard_may_only_tell(trades):
    trades.tell(slippage_action="WARN")
    trades.run()
    assert trades.parts()[0].limit_price is None
    trades.turn(3)
    trades.fill_exit("winner", "893.00")
    trades.turn(2)
    trades.prices["loser"] = "750.00"
    trades.run()
    assert told("OFFSET_SLIPPAGE")
    assert Group.objects.get(pk=trades.groups["loser"].pk).close_reason == "OFFSET"


# -- killed and taken up again -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


def test_killed_after_every_step_it_is_finished_and_nothing_is_done_twice(trades):
    points = [name for name in POINTS if name.startswith("offset.")]
    to_come = list(points)

    def die(name: str) -> None:
        if to_come and name == to_come[0]:
            to_come.pop(0)
            raise Killed

    arm(die)
    try:
        for _ in range(40):
            try:
                trades.run()
            except Killed:
                continue
            trades.turn(1)
            for name, price in (("winner", "900.00"), ("loser", "760.00")):
                if trades.working_exit(name):
                    trades.fill_exit(name, price)
            if OffsetPlan.objects.filter(state="DONE").exists():
                break
    finally:
        arm(None)
    assert not to_come, f"never passed: {to_come}"
    assert OffsetPlan.objects.get().state == "DONE"
    assert [(part.quantity, part.state) for part in trades.parts()] == [(6, "DONE")]
    assert (trades.held("winner"), trades.held("loser")) == (4, 0)
    assert AuditEntry.objects.filter(action="offset.planned").count() == 1


# -- trades that are built up ------------------------------------------------------------------------------------------


def test_a_trade_that_is_built_up_counts_by_its_pyramids_and_waits_by_its_timer(desk):
    many = ManyTrades(desk, offset_pyramids=2, offset_wait_s=600, offset_timer="AFTER_FILLED")
    publish_policy(portfolio=desk.portfolio, values={"stop_required": False}, actor="a test")
    group = many.build_up("loser", quantity=20)
    many.prices["loser"] = "760.00"
    many.beat()

    def loser():
        settings = settings_of(desk.portfolio.pk)
        [trade] = trades_of(desk.portfolio, settings, desk.now[0])
        return trade

    assert (loser().pyramids, loser().timer_at, loser().quantity) == (1, None, 20)
    many.prices["loser"] = ENTRY
    many.build_up("loser", quantity=20)
    many.prices["loser"] = "760.00"
    many.beat()
    trade = loser()
    assert (trade.key, trade.pyramids, trade.quantity) == (str(group.pk), 2, 40)
    entries = group.orders.filter(reason="ENTRY")
    assert trade.timer_at == entries.latest("done_at").done_at
    many.tell(offset_pyramids=2, offset_timer="AFTER_PYRAMIDS")
    assert loser().timer_at == group.pyramids.get(index=1).created_at
    many.tell(offset_pyramids=2, offset_timer="AFTER_SUBMITTED")
    assert loser().timer_at == entries.latest("acked_at").acked_at
    later = entries.latest("acked_at").acked_at + timedelta(minutes=5)
    newer = hook_signal(desk.portfolio, group.instrument, side=group.side, created_at=later)
    QueuedSignal.objects.create(
        portfolio=desk.portfolio, instrument=group.instrument, side=group.side, signal=newer, replacement_count=1,
        entry_price=Decimal(ENTRY), cause="POOL_FULL", enqueued_at=later, expires_at=later,
    )  # fmt: skip
    assert loser().timer_at == entries.latest("acked_at").acked_at, "a replacement alone does not begin it anew"
    many.tell(offset_pyramids=2, offset_timer="AFTER_SUBMITTED", offset_reset_on_replacement=True)
    assert loser().timer_at == later
    many.tell(offset_pyramids=3)
    assert loser().timer_at is None


def test_a_winner_whose_take_profits_rest_at_the_broker_pays_with_a_part_of_them(desk):
    publish_policy(portfolio=desk.portfolio, values={"stop_required": False}, actor="a test")
    many = ManyTrades(desk)
    many.open("loser")
    winner = many.build_up("winner", quantity=20, take_profit_pct="20")
    many.turn(3)
    assert many.working_exit("winner").limit_price == Decimal("974.85"), "its take-profit rests"
    many.prices |= {"loser": "760.00", "winner": "900.00"}
    many.run()
    many.turn(6)
    order = Order.objects.get(group=winner, reason="OFFSET")
    assert (order.quantity, order.state) == (6, "OPEN")
    desk.broker.fill(order.broker_order_id, 6, "900.00")
    many.turn(4)
    many.run()
    assert many.plan().state == "CLOSING_LOSER"
    assert many.working_exit("winner").quantity == 14 == many.held("winner")
