"""Option chains of a broker, brought into market data's store."""

from collections import defaultdict
from datetime import date, datetime
from typing import Protocol

from execution.brokers.errors import BrokerError
from execution.brokers.port import OptionChain
from trading.marketdata.models import ChainSnapshot
from trading.marketdata.option_chain import Chain, store_chain


class ChainGateway(Protocol):
    """A gateway that shows option chains."""

    def option_chain(self, symbol: str, *, expiry: date | None = None, strikes: int = 50) -> OptionChain: ...


def fetch_chain(
    gateway: ChainGateway, *, symbol: str, underlying: str, expiry: date | None, source: str, now: datetime,
    strikes: int = 50,
) -> tuple[ChainSnapshot, bool]:  # fmt: skip
    """Ask for a chain and keep it; (row, whether it is new). `symbol`: what the broker calls the underlying.

    Errors: BrokerError (also NO_EXPIRY: the broker lists none), ChainRefused.
    """
    said = gateway.option_chain(symbol, expiry=expiry, strikes=strikes)
    day = expiry or next((one for one in said.expiries), None)
    if day is None:
        raise BrokerError("NO_EXPIRY", f"{symbol}: the broker lists no expiry.")
    return store_chain(
        chain_of(said), exchange=symbol.partition(":")[0], underlying=underlying, expiry=day, source=source,
        exchange_at=None, stored_at=now, spot=said.spot,
    )  # fmt: skip


def chain_of(said: OptionChain) -> Chain:
    """A broker's lines as columns by strike; a strike may have one side only."""
    by_strike: dict[float, dict[str, float]] = defaultdict(dict)
    for line in said.lines:
        side = line.option_type.lower()
        into = by_strike[float(line.strike)]
        for name, value in (
            ("ltp", line.last_price), ("bid", line.bid), ("ask", line.ask), ("oi", line.open_interest),
            ("oi_change", line.open_interest_change), ("volume", line.volume),
        ):  # fmt: skip
            if value is not None:
                into[f"{side}_{name}"] = float(value)
    strikes = sorted(by_strike)
    names = {name for row in by_strike.values() for name in row}
    columns = {name: [by_strike[strike].get(name, float("nan")) for strike in strikes] for name in sorted(names)}
    return Chain.of({"strike": strikes, **columns})
