"""The simulated market is a function of its seed."""

from __future__ import annotations

import hashlib
import math
import time
from datetime import date
from itertools import pairwise

import numpy as np

from execution.sandbox.calendar import previous_trading_day, session_hours
from execution.sandbox.market import Market
from execution.sandbox.market_path import MarketPath
from execution.sandbox.session import Session
from execution.sandbox.universe import INDICES, NIFTY, NIFTY50, members_of

DAY = date(2026, 11, 20)


def fingerprint(session: Session) -> str:
    digest = hashlib.sha256()
    for symbol in sorted(session.names):
        digest.update(session.names[symbol].price.tobytes() + session.names[symbol].volume.tobytes())
    return digest.hexdigest()


def test_the_same_seed_tells_the_same_day():
    assert fingerprint(MarketPath(7).session(DAY)) == fingerprint(MarketPath(7).session(DAY))
    assert fingerprint(MarketPath(7).session(DAY)) != fingerprint(MarketPath(8).session(DAY))


def test_a_day_does_not_depend_on_the_days_asked_before():
    wandering = MarketPath(7)
    wandering.session(date(2026, 8, 3))
    wandering.symbol_day("NSE:SBIN-EQ", date(2026, 11, 19))
    assert fingerprint(wandering.session(DAY)) == fingerprint(MarketPath(7).session(DAY))


def test_there_are_fifty_names_with_tokens_of_their_own():
    assert len(NIFTY50) == 50
    assert len({share.symbol for share in NIFTY50}) == len({share.fy_token for share in NIFTY50}) == 50
    assert all(len(share.isin) == 12 for share in NIFTY50)


def test_prices_are_on_the_tick_and_inside_the_circuit():
    market = Market(seed=7)
    session = market.open(DAY)
    for share in NIFTY50:
        tape = session.names[share.symbol]
        low, high = market.band(share.symbol)
        assert (tape.price % share.tick_paise == 0).all()
        assert low <= tape.price.min() and tape.price.max() <= high
        assert (tape.volume >= 1).all()


def test_a_day_starts_where_the_day_before_ended():
    path = MarketPath(7)
    today, before = path.session(DAY), path.session(previous_trading_day(DAY))
    for symbol, tape in today.names.items():
        assert tape.prev_close == before.names[symbol].price[-1]


def test_the_index_is_the_weighted_sum_of_its_members():
    session = MarketPath(7).session(DAY)
    for index in INDICES:
        shares = members_of(index)
        total = sum(share.weight for share in shares)
        level = sum(
            index.base_paise * s.weight / total / s.base_paise * session.names[s.symbol].price.astype(float)
            for s in shares
        )
        assert np.abs(level - session.names[index.symbol].price).max() <= index.tick_paise / 2 + 1e-6
    assert 10_000_00 < session.names[NIFTY.symbol].price[-1] < 60_000_00


def test_sessions_of_derivative_stocks_end_at_a_quarter_past_three():
    opens_at, closes_at = session_hours(DAY)
    assert closes_at - opens_at == 6 * 3600
    opens_at, closes_at = session_hours(date(2026, 7, 31))
    assert closes_at - opens_at == 6 * 3600 + 15 * 60


def test_volume_and_movement_are_u_shaped_and_sectors_move_together():
    path = MarketPath(7)
    sessions = [path.session(day) for day in (date(2026, 11, 16), date(2026, 11, 17), date(2026, 11, 18))]
    first = noon = last = 0
    for session in sessions:
        for share in NIFTY50:
            volume = session.names[share.symbol].volume
            first, noon, last = first + volume[:600].sum(), noon + volume[3300:3900].sum(), last + volume[-600:].sum()
    assert first > 1.5 * noon and last > 1.5 * noon

    def returns(name: str) -> np.ndarray:
        parts = [np.diff(np.log(session.names[f"NSE:{name}-EQ"].price[::100])) for session in sessions]
        return np.concatenate(parts)

    inside = np.corrcoef(returns("TCS"), returns("INFY"))[0, 1]
    across = np.corrcoef(returns("TCS"), returns("NTPC"))[0, 1]
    assert inside > 0.15 and inside > across


def test_moving_averages_cross_often_enough_to_trade():
    path, crosses = MarketPath(7), 0
    for share in NIFTY50:
        closes = [path.symbol_day(share.symbol, day).price[99::100] for day in (date(2026, 11, 19), DAY)]
        fast = slow = float(closes[0][0])
        above: list[bool] = []
        for close in np.concatenate(closes):
            fast, slow = fast + 0.2 * (close - fast), slow + (close - slow) / 11
            above.append(fast > slow)
        crosses += sum(a != b for a, b in pairwise(above[72:]))
    assert crosses >= 2 * len(NIFTY50) / 2


def test_a_session_is_made_quickly():
    MarketPath(7).session(date(2026, 11, 19))  # imports and first-use costs
    began = time.perf_counter()
    MarketPath(9).session(DAY)
    assert time.perf_counter() - began < 1.0


def test_the_depth_brackets_the_last_trade():
    market = Market(seed=7)
    session = market.open(DAY)
    for tick in (0, 10, 5000, len(session.instants) - 1):
        for share in NIFTY50[:10]:
            depth = market.depth(share.symbol, tick)
            last = int(session.names[share.symbol].price[tick])
            assert depth.bids[0].price <= last <= depth.asks[0].price
            assert depth.bids[0].price < depth.asks[0].price
            assert [x.price for x in depth.bids] == sorted((x.price for x in depth.bids), reverse=True)
            assert all(
                level.size > 0 and math.isclose(level.price % share.tick_paise, 0) for level in depth.bids + depth.asks
            )
