"""Replay one day: a desk and a sandbox of its own, walked from the first tick to the last bar.

Everything that streams is waited for before the next tick, and after each thing we send the books are read: so a run
depends on the candles and the contract alone, and a second run makes the same trades.
"""

import os
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from accounts.models import BrokerAccount
from execution.brokers.registry import gateway_of, sign_in
from execution.engine.account_engine import AccountEngine
from execution.engine.lease import State, acquire, give_up, set_state
from execution.replay.desk import replay_desk
from execution.replay.lock_step import APP, LockStep, Sandbox
from execution.replay.session_file import write_session_file
from execution.replay.walk import Progress, Replayed, Walk
from strategies.models import Deployment
from trading.marketdata.candles import forget_candles
from trading.marketdata.models import CandleCoverage, Feed, Instrument
from trading.marketdata.quotes import drop_quotes

__all__ = ["Progress", "Replayed", "replay_day"]


def replay_day(
    *, feed: Feed, instruments: list[Instrument], day, cash_paise: int, contract: str, speed: float | None,
    keep_candles: bool = False, on_progress: Callable[[Progress], None] = lambda _: None,
) -> Replayed:  # fmt: skip
    """Replay one day of imported candles of `feed` through the whole path.

    `speed` paces it in venue seconds a second; None runs as fast as the machine can. TradingError: no candles, no
    session, a contract that is not there, or a sandbox that fell out of step.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tarazu-replay-") as folder:
        session = write_session_file(Path(folder) / "session.json", feed=feed, instruments=instruments, day=day)
        with Sandbox(session.path, Path(folder) / "state", cash_paise=cash_paise) as sandbox:
            opens = session.session.opens_at
            portfolio, own_feed, deployment = replay_desk(
                day=day, base_url=sandbox.url, app_id=APP, cash_paise=cash_paise, contract=contract, now=opens
            )
            result = Replayed(portfolio, own_feed, deployment, session, instruments=instruments)
            try:
                _drive(result, speed=speed, on_progress=on_progress)
            finally:
                Deployment.objects.filter(pk=deployment.pk).update(state=Deployment.State.RETIRED)
                drop_quotes(own_feed.name)
                if not keep_candles:
                    forget_candles(own_feed)
                    CandleCoverage.objects.filter(feed=own_feed).delete()
    result.duration_s = time.monotonic() - began
    return result


def _drive(result: Replayed, *, speed: float | None, on_progress: Callable[[Progress], None]) -> None:
    account = BrokerAccount.objects.get(pk=result.portfolio.account_id)
    sign_in(account)
    gateway = gateway_of(account, paced=False)
    fence = acquire(account.pk, f"replay:{os.getpid()}")
    assert fence is not None  # the account is a moment old and ours alone
    clock = {"now": result.session.session.opens_at}
    engine = AccountEngine(account=account, feed=result.feed, gateway=gateway, fence=fence, now=lambda: clock["now"])
    symbols = [one.symbol for one in result.instruments]
    try:
        set_state(account.pk, fence, State.RUNNING)
        engine.fill_history(result.instruments, start=clock["now"] - timedelta(days=12))
        with LockStep(account, engine, symbols) as venue:
            Walk(result, engine, venue, clock, fence).to_the_close(speed=speed, on_progress=on_progress)
    finally:
        gateway.close()
        give_up(account.pk, fence)
