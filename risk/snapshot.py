"""Everything the gates may see, read once."""

from datetime import datetime

from risk.gates.finding import Snapshot
from risk.kill_switch import KillState
from risk.models import LossLock, RiskBucket, RiskPolicy
from risk.reserve import Kind, bucket_keys
from trading.domain.orders import Reason
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quotes import last_quotes
from trading.marketdata.sessions import session_at
from trading.portfolio.models import ClosedTrade, Portfolio, Position
from trading.portfolio.valuation import value_portfolio
from trading.venue.sessions import Phase, entry_window, exchange_date


def take_snapshot(
    *,
    portfolio: Portfolio,
    instrument: Instrument,
    policy: RiskPolicy,
    kill: KillState,
    engine_ready: bool,
    engine_cause: str,
    now: datetime,
) -> Snapshot:
    """The portfolio, the instrument and the market as they stand at `now`, venue time."""
    held = list(Position.objects.filter(portfolio=portfolio).exclude(net_quantity=0).select_related("instrument"))
    symbols = {row.instrument.symbol for row in held} | {instrument.symbol}
    feed = Feed.objects.get(name=portfolio.account.feed)
    quotes = last_quotes(feed.name, symbols)
    value = value_portfolio(portfolio, quotes=quotes, now=now)
    keys = bucket_keys(portfolio.pk, instrument.pk, exchange_date(now))
    reserved = dict(RiskBucket.objects.filter(key__in=keys.values()).values_list("key", "reserved"))
    session = session_at(feed, instrument, now)
    entries_from = entries_until = None
    if session is not None:
        entries_from, entries_until = entry_window(
            session, policy.entry_after_open_min, policy.entry_before_close_min
        )
    quote = quotes.get(instrument.symbol)
    locks = set(
        LossLock.objects.filter(portfolio=portfolio, session_date=exchange_date(now)).values_list("kind", flat=True)
    )
    stopped = ClosedTrade.objects.filter(portfolio=portfolio, instrument=instrument, exit_reason=Reason.STOP).first()
    own = [row for row in held if row.instrument_id == instrument.pk]
    return Snapshot(
        now=now,
        equity_paise=value.equity_paise,
        cash_paise=value.cash_paise,
        day_pnl_paise=value.day_pnl_paise,
        opening_equity_paise=value.opening_equity_paise,
        exposure_paise=max(value.exposure_paise, reserved.get(keys[Kind.EXPOSURE], 0)),
        symbol_exposure_paise=reserved.get(keys[Kind.SYMBOL], 0),
        symbol_net_quantity=sum(row.net_quantity for row in own),
        symbol_reserved=reserved.get(keys[Kind.SYMBOL], 0) > 0,
        slots_taken=reserved.get(keys[Kind.SLOTS], 0),
        trades_today=reserved.get(keys[Kind.TRADES], 0),
        last_price=quote.last_price if quote else None,
        quote_age_s=quote.age_s if quote else None,
        session_open=session is not None and session.phase_at(now) is Phase.CONTINUOUS,
        entries_from=entries_from,
        entries_until=entries_until,
        last_stop_out_at=stopped.closed_at if stopped else None,
        soft_locked=LossLock.Kind.SOFT in locks,
        hard_locked=LossLock.Kind.HARD in locks,
        kill_level=kill.level,
        kill_reason=kill.reason,
        auth_state=portfolio.account.auth_state,
        engine_ready=engine_ready,
        engine_cause=engine_cause,
    )
