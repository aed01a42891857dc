"""Which rules of time have anything to look at: asked in one statement, twice a second, of every account.

A rule that is left out would find nothing. What is said here is wider than what a rule does: whether a trade's time has
come is for the rule to say.
"""

from collections.abc import Callable
from datetime import datetime

from execution.models import Group
from execution.services.bar_exit import bar_exit
from execution.services.kill_resume import OF_THE_ACCOUNT, kill_resume
from execution.services.loss_flatten import loss_flatten
from execution.services.offset_run import offset_run
from execution.services.runaway_watch import runaway_watch
from execution.services.square_off import square_off
from execution.services.stop_closer import stops_tighten
from execution.services.time_exit import time_exit
from risk.drawdown import DrawdownStep
from risk.models import LossLock
from trading.domain.orders import Product
from trading.statements import run
from trading.venue.sessions import exchange_date

Rule = Callable[..., int]
_HELD = ", ".join(f"'{state}'" for state in Group.HELD)
DUE = f"""
SELECT
    EXISTS (SELECT 1 FROM risk_tradingstate t {OF_THE_ACCOUNT.replace("%s", "%(account)s")}),
    EXISTS (SELECT 1 FROM risk_losslock l JOIN mine ON mine.id = l.portfolio_id
            WHERE l.session_date = %(today)s AND l.kind IN ('{LossLock.Kind.FLATTEN}', '{LossLock.Kind.HARD}'))
        OR EXISTS (SELECT 1 FROM risk_drawdownstate d JOIN mine ON mine.id = d.portfolio_id
                   WHERE d.step = '{DrawdownStep.HALTED}'),
    EXISTS (SELECT 1 FROM execution_group g JOIN mine ON mine.id = g.portfolio_id
            WHERE g.product = '{Product.INTRADAY}' AND g.close_reason = '' AND g.state <> 'CLOSED'),
    EXISTS (SELECT 1 FROM execution_group g JOIN mine ON mine.id = g.portfolio_id
            WHERE g.state IN ({_HELD}) AND g.close_reason = '' AND g.signal_id IS NOT NULL),
    EXISTS (SELECT 1 FROM risk_drawdownstate d JOIN mine ON mine.id = d.portfolio_id
            WHERE d.step = '{DrawdownStep.DEFENSIVE}')
"""  # noqa: S608 - made of constants
MINE = "WITH mine AS MATERIALIZED (SELECT id FROM portfolio_portfolio WHERE account_id = %(account)s)"


def rules_due(*, account_id: int, now: datetime) -> list[Rule]:
    """The rules that have something to look at, in the order in which they are kept. `now` is venue time."""
    ((pulled, lost, intraday, of_signals, defensive),) = run(
        MINE + DUE, {"account": account_id, "today": exchange_date(now)}
    )
    found: list[tuple[Rule, bool]] = [
        (kill_resume, pulled), (loss_flatten, lost), (runaway_watch, True), (square_off, intraday),
        (time_exit, of_signals), (bar_exit, of_signals), (stops_tighten, defensive), (offset_run, True),
    ]  # fmt: skip
    return [rule for rule, due in found if due]
