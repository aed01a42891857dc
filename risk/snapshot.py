"""Everything the gates may see, read in one statement: its facts belong to one instant."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Any

from risk.gates.finding import Snapshot
from risk.kill_switch import KillState, scope_keys, strictest
from risk.market_facts import NOTHING_MEASURED, MarketFacts
from risk.models import BrokerFunds, LossLock, RiskPolicy
from risk.order_rate import RATES
from risk.policies import policy_of
from risk.reserve import Claim, Kind, bucket_keys, segment_of
from trading.domain.clock import IST
from trading.domain.orders import Reason
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quotes import Quote, last_quotes
from trading.marketdata.sessions import session_at
from trading.portfolio.models import Portfolio
from trading.portfolio.valuation import Holding, opening_equity, worth_of
from trading.statements import ask
from trading.trips import Texts
from trading.venue.sessions import Phase, entry_window, exchange_date

# One row for each wish. What all of them share is of one account, and is in the first row alone.
FACTS = """
SELECT
    (SELECT id FROM risk_riskpolicy WHERE active AND (portfolio_id = w.portfolio OR portfolio_id IS NULL)
     ORDER BY portfolio_id NULLS LAST LIMIT 1),
    (SELECT coalesce(sum(realised_paise - charges_paise - cost_paise), 0)
     FROM portfolio_position WHERE portfolio_id = w.portfolio),
    (SELECT json_agg(json_build_array(p.instrument_id, i.symbol, p.net_quantity, p.cost_paise))
     FROM portfolio_position p JOIN marketdata_instrument i ON i.id = p.instrument_id
     WHERE p.portfolio_id = w.portfolio AND p.net_quantity <> 0),
    (SELECT opening_equity_paise FROM portfolio_tradingday
     WHERE portfolio_id = w.portfolio AND session_date = w.day),
    (SELECT json_agg(json_build_array(kind, session_date = w.day)) FROM risk_losslock
     WHERE portfolio_id = w.portfolio
       AND (session_date = w.day OR (released_at IS NULL AND kind = ANY(%(lasting)b) AND session_date < w.day))),
    (SELECT closed_at FROM portfolio_closedtrade
     WHERE portfolio_id = w.portfolio AND instrument_id = w.instrument AND exit_reason = ANY(%(stops)b)
     ORDER BY closed_at DESC, id DESC LIMIT 1),
    (SELECT json_build_array(count(*), max(closed_at)) FROM portfolio_closedtrade
     WHERE portfolio_id = w.portfolio AND gross_paise < charges_paise AND closed_at > coalesce(
         (SELECT max(closed_at) FROM portfolio_closedtrade
          WHERE portfolio_id = w.portfolio AND closed_at >= w.midnight AND gross_paise > charges_paise),
         w.midnight - interval '1 microsecond')),
    (SELECT json_build_array(step, drawdown_pct::text) FROM risk_drawdownstate WHERE portfolio_id = w.portfolio),
    (SELECT json_build_array(b.lower::text, b.upper::text) FROM marketdata_priceband b
     JOIN marketdata_feed f ON f.id = b.feed_id
     WHERE f.name = %(feed)s AND b.instrument_id = w.instrument AND b.session_date = w.day),
    CASE WHEN w.place = 1 THEN json_build_object(
        'kill', (SELECT json_object_agg(scope, json_build_array(level, epoch, reason)) FROM risk_tradingstate
                 WHERE scope = ANY(%(scopes)b)),
        'taken', (SELECT json_object_agg(key, reserved + used) FROM risk_riskbucket WHERE key = ANY(%(keys)b)),
        'feed_kind', (SELECT kind FROM marketdata_feed WHERE name = %(feed)s),
        'equity', (SELECT coalesce(sum(coalesce((SELECT d.opening_equity_paise FROM portfolio_tradingday d
                                                 WHERE d.portfolio_id = p.id ORDER BY d.session_date DESC LIMIT 1),
                                                p.opening_cash_paise)), 0)
                   FROM portfolio_portfolio p WHERE p.account_id = %(account)s),
        'wait_s', (SELECT extract(epoch FROM next_free_at - clock_timestamp())::float8 FROM risk_orderrate
                   WHERE account_id = %(account)s AND call_class = 'order'),
        'breaker', (SELECT cause FROM risk_breaker WHERE account_id = %(account)s AND call_class = 'ORDER_WRITE'
                    AND state <> 'CLOSED' AND retry_at > clock_timestamp()),
        'funds', (SELECT json_build_array(available_paise, taken_paise, session_date) FROM risk_brokerfunds
                  WHERE account_id = %(account)s AND read_at > clock_timestamp() - %(believed)s)
    ) END
FROM jsonb_to_recordset(%(wishes)s::jsonb)
    AS w (place int, portfolio bigint, instrument bigint, day date, midnight timestamptz)
ORDER BY w.place
"""


LASTING = Texts(str(kind) for kind in LossLock.LASTING)
STOPPED_OUT = Texts([Reason.STOP.value, Reason.TRAILING.value])
"""A stop that was drawn closer is a stop too."""


@dataclass(frozen=True, slots=True)
class Working:
    """What the floor above knows of orders under way in an instrument: units on the other side of the account, orders
    whose fate nobody knows, and in words what of its books does not agree with the broker's ("": all does)."""

    opposite: int = 0
    unknown: int = 0
    disagreement: str = ""


NOTHING_WORKS = Working()


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
    quotes: Mapping[str, Quote]
    keys: Mapping[Kind, str]
    losses_in_row: int
    last_loss_at: datetime | None
    account_equity_paise: int
    order_wait_s: float
    drawdown: tuple[str, Decimal]
    breaker_cause: str | None
    broker_free_paise: int | None = None
    band: tuple[Decimal, Decimal] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Whose standing is asked for, and for what; `strategy` names whose idea it is, "" a hand. `now` is venue time."""

    portfolio: Portfolio
    instrument: Instrument
    now: datetime
    strategy: str = ""

    @property
    def day(self) -> date:
        return exchange_date(self.now)

    def as_row(self, place: int) -> dict[str, Any]:
        return {
            "place": place, "portfolio": self.portfolio.pk, "instrument": self.instrument.pk,
            "day": self.day.isoformat(), "midnight": datetime.combine(self.day, time(), tzinfo=IST).isoformat(),
        }  # fmt: skip

    def scopes(self) -> list[str]:
        return scope_keys(self.portfolio, instrument_id=self.instrument.pk, strategy=self.strategy)

    def buckets(self) -> Mapping[Kind, str]:
        return bucket_keys(
            portfolio_id=self.portfolio.pk, account_id=self.portfolio.account_id, instrument_id=self.instrument.pk,
            session_date=self.day, segment=segment_of(self.instrument.segment, is_option(self.instrument)),
            sector=self.instrument.own_sector, strategy=self.strategy,
        )  # fmt: skip


def standing_of(portfolio: Portfolio, instrument: Instrument, *, now: datetime, strategy: str = "") -> Standing:
    """Read it: one statement for the rows, one call for the prices."""
    return Standings([Question(portfolio, instrument, now, strategy)]).of(0)


class Standings:
    """How several wishes of one account stand, one after the other: each sees the room that those before it took.

    Made, it asks with the caller's other questions; the rows are read at the first look.
    """

    def __init__(self, questions: Sequence[Question], prices: dict[str, Quote] | None = None) -> None:
        """`prices`: those that the caller fetches meanwhile; what is not among them then is fetched."""
        self._questions = questions
        self._keys = [one.buckets() for one in questions]
        account = questions[0].portfolio.account
        asked: dict[str, Any] = {
            "wishes": json.dumps([one.as_row(place) for place, one in enumerate(questions, 1)]),
            "scopes": Texts({scope for one in questions for scope in one.scopes()}),
            "keys": Texts({key for keys in self._keys for key in keys.values()}),
            "lasting": LASTING, "stops": STOPPED_OUT, "feed": account.feed,
            "account": account.pk, "believed": BrokerFunds.BELIEVED,
        }  # fmt: skip
        self._asked = ask(FACTS, asked)
        self._prices = {} if prices is None else prices

    @cached_property
    def _rows(self) -> list[tuple[Any, ...]]:
        return self._asked()

    @cached_property
    def _shared(self) -> dict[str, Any]:
        shared: dict[str, Any] = _plain(self._rows[0][-1])
        return shared

    @cached_property
    def _taken(self) -> dict[str, int]:
        """By bucket: what was reserved and used, and what those took that were looked at before."""
        return self._shared["taken"] or {}

    @cached_property
    def _quotes(self) -> Mapping[str, Quote]:
        wanted = {one.instrument.symbol for one in self._questions}
        wanted |= {one[1] for row in self._rows for one in _plain(row[2]) or ()}
        missing = wanted - self._prices.keys()
        if missing:
            self._prices |= last_quotes(self._questions[0].portfolio.account.feed, missing)
        return self._prices

    def took(self, claims: Iterable[Claim]) -> None:
        """Room that one of them was given: who comes after it sees it taken."""
        for one in claims:
            self._taken[one.key] = self._taken.get(one.key, 0) + one.amount

    def of(self, place: int) -> Standing:
        question, keys, shared = self._questions[place], self._keys[place], self._shared
        policy_id, cash, held, opening, locks, stopped_at, closed, drawdown, band, _ = self._rows[place]
        portfolio, now = question.portfolio, question.now
        holdings = tuple(Holding(*row) for row in _plain(held) or ())
        cash_paise = portfolio.opening_cash_paise + int(cash)
        worth, exposure = worth_of(holdings, self._quotes)
        equity = cash_paise + worth
        if opening is None:  # the first look of the day
            opening = opening_equity(portfolio, equity_paise=equity, now=now)
        policy = policy_of(policy_id)
        latched = {kind for kind, is_today in _plain(locks) or () if is_today or policy.locks_need_release}
        step, deep = _plain(drawdown) or ("NORMAL", "0")
        known = {key: self._taken[key] for key in keys.values() if key in self._taken}
        losses, last_loss_at = _plain(closed)
        return Standing(
            now=now, policy=policy, kill=strictest([*map((shared["kill"] or {}).get, question.scopes())]),
            cash_paise=cash_paise, held=holdings, equity_paise=equity, exposure_paise=exposure,
            opening_equity_paise=opening, reserved=known, locks=frozenset(latched), last_stop_out_at=stopped_at,
            feed_kind=shared["feed_kind"], quotes=self._quotes, keys=keys, losses_in_row=losses,
            last_loss_at=datetime.fromisoformat(last_loss_at) if losses else None,
            account_equity_paise=int(shared["equity"]), order_wait_s=_wait_s(shared["wait_s"]),
            drawdown=(step, Decimal(deep)), breaker_cause=shared["breaker"],
            broker_free_paise=_free(shared["funds"], known.get(keys[Kind.ACCOUNT], 0), question.day),
            band=_band(_plain(band)),
        )  # fmt: skip


def _wait_s(next_free_in_s: Any) -> float:
    """How long an entry that is asked for now waits for its turn in the account's rate."""
    if next_free_in_s is None:
        return 0.0
    per_second, burst = RATES["order"]
    return max(0.0, float(next_free_in_s) + (1 - burst) / per_second)


def _free(funds: tuple[int, int, str] | None, taken: int, day: date) -> int | None:
    """What the broker said is free, less all the room that was taken since it was asked; None: not known today."""
    if funds is None or funds[2] != day.isoformat():
        return None
    available, taken_then, _ = funds
    return available - max(0, taken - taken_then)


def _band(told: list[str] | None) -> tuple[Decimal, Decimal] | None:
    return (Decimal(told[0]), Decimal(told[1])) if told else None


def is_option(instrument: Instrument) -> bool:
    return instrument.instrument_type.startswith("OPT")


def _plain(value):
    return json.loads(value) if isinstance(value, str) else value


def take_snapshot(
    *, portfolio: Portfolio, instrument: Instrument, standing: Standing, engine_ready: bool, engine_cause: str,
    market: MarketFacts = NOTHING_MEASURED, working: Working = NOTHING_WORKS, symbol_risk_paise: int = 0,
) -> Snapshot:  # fmt: skip
    """The portfolio, the instrument and the market as gates see them."""
    now, policy, kill = standing.now, standing.policy, standing.kill

    def taken(kind: Kind) -> int:
        return standing.reserved.get(standing.keys.get(kind, ""), 0)

    session = session_at(Feed(name=portfolio.account.feed, kind=standing.feed_kind), instrument, now)
    entries_from = entries_until = None
    if session is not None:
        entries_from, entries_until = entry_window(session, policy.entry_after_open_min, policy.entry_before_close_min)
    quote = standing.quotes.get(instrument.symbol)
    spread = quote.ask - quote.bid if quote and quote.ask and quote.bid else None
    return Snapshot(
        now=now,
        equity_paise=standing.equity_paise,
        cash_paise=standing.cash_paise,
        day_pnl_paise=standing.equity_paise - standing.opening_equity_paise,
        opening_equity_paise=standing.opening_equity_paise,
        exposure_paise=max(standing.exposure_paise, taken(Kind.EXPOSURE)),
        symbol_exposure_paise=taken(Kind.SYMBOL),
        symbol_net_quantity=sum(one.net_quantity for one in standing.held if one.instrument_id == instrument.pk),
        symbol_risk_paise=symbol_risk_paise,
        symbol_reserved=taken(Kind.SYMBOL) > 0,
        slots_taken=taken(Kind.SLOTS),
        trades_today=taken(Kind.TRADES),
        last_price=quote.last_price if quote else None,
        quote_age_s=quote.age_s if quote else None,
        session_open=session is not None and session.phase_at(now) is Phase.CONTINUOUS,
        entries_from=entries_from,
        entries_until=entries_until,
        last_stop_out_at=standing.last_stop_out_at,
        soft_locked=LossLock.Kind.SOFT in standing.locks,
        hard_locked=LossLock.Kind.HARD in standing.locks,
        half_size=LossLock.Kind.HALF in standing.locks,
        drawdown_state=standing.drawdown[0],
        drawdown_pct=standing.drawdown[1],
        breaker_open=standing.breaker_cause is not None,
        breaker_cause=standing.breaker_cause or "",
        kill_level=kill.level,
        kill_reason=kill.reason,
        auth_state=portfolio.account.auth_state,
        engine_ready=engine_ready,
        engine_cause=engine_cause,
        losses_in_row=standing.losses_in_row,
        last_loss_at=standing.last_loss_at,
        strategy_slots_taken=taken(Kind.STRATEGY),
        sector_exposure_paise=taken(Kind.SECTOR),
        options_exposure_paise=taken(Kind.SEGMENT) if is_option(instrument) else 0,
        opened_today_paise=taken(Kind.DAY),
        reconciled=not working.disagreement,
        reconciliation_cause=working.disagreement,
        broker_free_paise=standing.broker_free_paise,
        order_wait_s=standing.order_wait_s,
        unknown_outstanding=working.unknown,
        opposite_working=working.opposite,
        session_opens_at=session.opens_at if session else None,
        session_closes_at=session.closes_at if session else None,
        spread=spread,
        close_deviation=market.close_deviation,
        bar_volume=market.bar_volume,
        mean_volume=market.mean_volume,
        opening_gap_pct=market.opening_gap_pct,
        correlations=market.correlations,
    )
