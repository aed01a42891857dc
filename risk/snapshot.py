"""Everything the gates may see, read in one statement: its facts belong to one instant."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from risk.gates.finding import Snapshot
from risk.kill_switch import KillState, scope_of
from risk.models import LossLock, RiskPolicy
from risk.policies import policy_of
from risk.reserve import Kind, bucket_keys
from trading.domain.orders import Reason
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quotes import Quote, last_quotes
from trading.marketdata.sessions import session_at
from trading.portfolio.models import Portfolio
from trading.portfolio.valuation import Holding, opening_equity, worth_of
from trading.venue.sessions import Phase, entry_window, exchange_date

FACTS = """
SELECT
    (SELECT id FROM risk_riskpolicy WHERE active AND (portfolio_id = %(portfolio)s OR portfolio_id IS NULL)
     ORDER BY portfolio_id NULLS LAST LIMIT 1),
    (SELECT json_build_array(coalesce(max(level), 0), coalesce(sum(epoch), 0),
            coalesce((array_agg(reason ORDER BY level DESC) FILTER (WHERE level > 0))[1], ''))
     FROM risk_tradingstate WHERE scope IN ('GLOBAL', %(scope)s)),
    (SELECT coalesce(sum(realised_paise - charges_paise - cost_paise), 0)
     FROM portfolio_position WHERE portfolio_id = %(portfolio)s),
    (SELECT json_agg(json_build_array(p.instrument_id, i.symbol, p.net_quantity, p.cost_paise))
     FROM portfolio_position p JOIN marketdata_instrument i ON i.id = p.instrument_id
     WHERE p.portfolio_id = %(portfolio)s AND p.net_quantity <> 0),
    (SELECT opening_equity_paise FROM portfolio_tradingday
     WHERE portfolio_id = %(portfolio)s AND session_date = %(day)s),
    (SELECT json_object_agg(key, reserved) FROM risk_riskbucket WHERE key = ANY(%(keys)s)),
    (SELECT json_agg(kind) FROM risk_losslock WHERE portfolio_id = %(portfolio)s AND session_date = %(day)s),
    (SELECT closed_at FROM portfolio_closedtrade
     WHERE portfolio_id = %(portfolio)s AND instrument_id = %(instrument)s AND exit_reason = %(stop)s
     ORDER BY closed_at DESC, id DESC LIMIT 1),
    (SELECT kind FROM marketdata_feed WHERE name = %(feed)s)
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a portfolio stands at an instant, and by which rules it is judged. Paise; `now` is venue time."""

    now: datetime
    policy: RiskPolicy
    kill: KillState
    cash_paise: int
    held: tuple[Holding, ...]
    equity_paise: int
    exposure_paise: int
    opening_equity_paise: int
    reserved: dict[str, int]
    locks: frozenset[str]
    last_stop_out_at: datetime | None
    feed_kind: str
    quotes: dict[str, Quote]


def standing_of(portfolio: Portfolio, instrument: Instrument, *, now: datetime) -> Standing:
    """Read it: one statement for the rows, one call for the prices."""
    day = exchange_date(now)
    asked: dict[str, Any] = {
        "portfolio": portfolio.pk, "instrument": instrument.pk, "scope": scope_of(portfolio.pk), "day": day,
        "keys": list(bucket_keys(portfolio.pk, instrument.pk, day).values()), "stop": Reason.STOP.value,
        "feed": portfolio.account.feed,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(FACTS, asked)
        policy_id, kill, cash, held, opening, reserved, locks, stopped_at, feed_kind = cursor.fetchone()
    level, epoch, reason = _plain(kill)
    holdings = tuple(Holding(*row) for row in _plain(held) or ())
    quotes = dict(last_quotes(portfolio.account.feed, {one.symbol for one in holdings} | {instrument.symbol}))
    cash_paise = portfolio.opening_cash_paise + int(cash)
    worth, exposure = worth_of(holdings, quotes)
    equity = cash_paise + worth
    if opening is None:  # the first look of the day
        opening = opening_equity(portfolio, equity_paise=equity, now=now)
    return Standing(
        now=now, policy=policy_of(policy_id), kill=KillState(int(level), int(epoch), reason), cash_paise=cash_paise,
        held=holdings, equity_paise=equity, exposure_paise=exposure, opening_equity_paise=opening,
        reserved=_plain(reserved) or {}, locks=frozenset(_plain(locks) or ()), last_stop_out_at=stopped_at,
        feed_kind=feed_kind, quotes=quotes,
    )  # fmt: skip


def _plain(value):
    return json.loads(value) if isinstance(value, str) else value


def take_snapshot(
    *, portfolio: Portfolio, instrument: Instrument, standing: Standing, engine_ready: bool, engine_cause: str
) -> Snapshot:
    """The portfolio, the instrument and the market as gates see them."""
    now, policy, kill = standing.now, standing.policy, standing.kill
    keys = bucket_keys(portfolio.pk, instrument.pk, exchange_date(now))
    reserved = standing.reserved
    session = session_at(Feed(name=portfolio.account.feed, kind=standing.feed_kind), instrument, now)
    entries_from = entries_until = None
    if session is not None:
        entries_from, entries_until = entry_window(session, policy.entry_after_open_min, policy.entry_before_close_min)
    quote = standing.quotes.get(instrument.symbol)
    return Snapshot(
        now=now,
        equity_paise=standing.equity_paise,
        cash_paise=standing.cash_paise,
        day_pnl_paise=standing.equity_paise - standing.opening_equity_paise,
        opening_equity_paise=standing.opening_equity_paise,
        exposure_paise=max(standing.exposure_paise, reserved.get(keys[Kind.EXPOSURE], 0)),
        symbol_exposure_paise=reserved.get(keys[Kind.SYMBOL], 0),
        symbol_net_quantity=sum(one.net_quantity for one in standing.held if one.instrument_id == instrument.pk),
        symbol_reserved=reserved.get(keys[Kind.SYMBOL], 0) > 0,
        slots_taken=reserved.get(keys[Kind.SLOTS], 0),
        trades_today=reserved.get(keys[Kind.TRADES], 0),
        last_price=quote.last_price if quote else None,
        quote_age_s=quote.age_s if quote else None,
        session_open=session is not None and session.phase_at(now) is Phase.CONTINUOUS,
        entries_from=entries_from,
        entries_until=entries_until,
        last_stop_out_at=standing.last_stop_out_at,
        soft_locked=LossLock.Kind.SOFT in standing.locks,
        hard_locked=LossLock.Kind.HARD in standing.locks,
        kill_level=kill.level,
        kill_reason=kill.reason,
        auth_state=portfolio.account.auth_state,
        engine_ready=engine_ready,
        engine_cause=engine_cause,
    )
