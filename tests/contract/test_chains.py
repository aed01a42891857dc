"""Option chains, whichever way a broker tells them: around the money, by expiry, and the same at all brokers."""

from decimal import Decimal

import pytest

from execution.brokers.errors import AuthError, BusinessError
from tests.contract.conftest import ADAPTERS, ON_A_WIRE
from trading.domain.symbols import parse_symbol

BANKS = "NSE:NIFTYBANK-INDEX"


def test_a_chain_lies_around_the_money(venue):
    chain = venue.gateway.option_chain(venue.index, strikes=5)
    strikes = sorted({line.strike for line in chain.lines})
    assert chain.underlying == venue.index and len(strikes) == 11 and len(chain.lines) == 22
    assert chain.spot is not None and strikes[0] < chain.spot < strikes[-1]
    assert {line.option_type for line in chain.lines} == {"CE", "PE"}
    for line in chain.lines:
        assert line.bid is not None and line.ask is not None and line.bid < line.ask
        assert line.last_price is not None and line.open_interest > 0
        parsed = parse_symbol(line.symbol)
        assert parsed is not None and (parsed.name, parsed.kind, parsed.strike) == (
            "NIFTY", line.option_type, line.strike,
        )  # fmt: skip


def test_calls_fall_and_puts_rise_with_the_strike(venue):
    lines = venue.gateway.option_chain(venue.index, strikes=8).lines
    for side, falls in (("CE", True), ("PE", False)):
        prices = [line.last_price for line in sorted(lines, key=lambda one: one.strike) if line.option_type == side]
        assert prices == sorted(prices, reverse=falls)


def test_every_expiry_that_is_listed_can_be_asked_for(venue):
    nearest = venue.gateway.option_chain(venue.index, strikes=1)
    assert list(nearest.expiries) == sorted(nearest.expiries) and len(nearest.expiries) >= 3
    later = venue.gateway.option_chain(venue.index, expiry=nearest.expiries[-1], strikes=1)
    assert later.expiries == nearest.expiries
    assert {line.symbol for line in later.lines}.isdisjoint({line.symbol for line in nearest.lines})
    banks = venue.gateway.option_chain(BANKS, strikes=1)
    assert {day.month for day in banks.expiries[:3]} != set() and len(banks.expiries) >= 2


def test_options_are_quoted_by_their_own_symbols(venue):
    line = venue.gateway.option_chain(venue.index, strikes=1).lines[0]
    (quote,) = venue.gateway.quotes([line.symbol])
    assert quote.symbol == line.symbol and quote.bid < quote.ask
    assert abs(quote.last_price - line.last_price) < max(Decimal(20), line.last_price / 2)


def test_a_day_without_contracts_and_a_share_without_options_are_errors(venue):
    nearest = venue.gateway.option_chain(venue.index, strikes=1).expiries[0]
    with pytest.raises(BusinessError) as none:
        venue.gateway.option_chain(venue.index, expiry=nearest.replace(year=nearest.year + 3), strikes=1)
    assert none.value.code == "UNKNOWN_EXPIRY"
    with pytest.raises(BusinessError):
        venue.gateway.option_chain(venue.share, strikes=1)


def test_strangers_see_no_chain(venue):
    with pytest.raises(AuthError):
        venue.stranger.option_chain(venue.index)


def test_all_brokers_tell_the_same_contracts(sandbox_url):
    told = []
    for name in ON_A_WIRE:
        for one in ADAPTERS[name](sandbox_url):
            chain = one.gateway.option_chain(one.index, strikes=50)
            told.append((chain.expiries, len(chain.lines)))
    assert told[0] == told[1] and told[0][1] == 202
