"""Option chains of a broker, brought into market data's store."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime

from django.conf import settings

from accounts.models import BrokerAccount
from execution.brokers.errors import BrokerError
from execution.brokers.port import BrokerGateway, OptionChain
from trading.domain.symbols import contract_root
from trading.marketdata.models import ChainSnapshot
from trading.marketdata.option_chain import Chain, ChainRefused, store_chain
from trading.monitoring.alerts import Level, clear_alerts, raise_alert

logger = logging.getLogger(__name__)
STRIKES = 25  # to each side of the money

SANDBOX = "SANDBOX"
"""In the place of the exchange of simulated chains: they must never stand among the exchange's own."""


def keep_chain(
    said: OptionChain, *, exchange: str, expiry: date, source: str, now: datetime
) -> tuple[ChainSnapshot, bool]:  # fmt: skip
    """Keep what a broker said of one expiry; (row, whether it is new). Errors: ChainRefused."""
    return store_chain(
        chain_of(said), exchange=exchange, underlying=contract_root(said.underlying), expiry=expiry, source=source,
        exchange_at=None, stored_at=now, spot=said.spot,
    )  # fmt: skip


def snapshot_chains(account: BrokerAccount, gateway: BrokerGateway, *, now: datetime) -> list[ChainSnapshot]:
    """Keep the chains of the configured underlyings, the nearest expiries of each. `now` is venue time.

    An underlying that fails is told (alert CHAINS_NOT_READ) and the others go on.
    """
    source = account.broker if account.has_market_prices else SANDBOX
    kept: list[ChainSnapshot] = []
    failed: dict[str, str] = {}
    for symbol in settings.OPTION_CHAINS:
        try:
            kept += _snapshots(gateway, symbol, source=source, simulated=not account.has_market_prices, now=now)
        except (BrokerError, ChainRefused) as error:
            failed[symbol] = f"{error.code}: {error.message}"
    about = account.feed
    if failed:
        told = "; ".join(f"{symbol} {why}" for symbol, why in failed.items())
        logger.warning("option chains of %s: %s", account.feed, told)
        raise_alert(
            "CHAINS_NOT_READ", f"Option chains were not kept: {told}"[:300], level=Level.WARNING, about=about,
            next_step="They are asked for again every minute; look at the broker's status page.",
        )  # fmt: skip
    else:
        clear_alerts("CHAINS_NOT_READ", owner_id=None, about=about)
    return kept


def _snapshots(
    gateway: BrokerGateway, symbol: str, *, source: str, simulated: bool, now: datetime
) -> Iterator[ChainSnapshot]:  # fmt: skip
    """The nearest expiry tells which others there are."""
    exchange = SANDBOX if simulated else symbol.partition(":")[0]
    nearest = gateway.option_chain(symbol, strikes=STRIKES)
    for day in nearest.expiries[: settings.OPTION_CHAIN_EXPIRIES]:
        said = nearest if day == nearest.expiries[0] else gateway.option_chain(symbol, expiry=day, strikes=STRIKES)
        row, _ = keep_chain(said, exchange=exchange, expiry=day, source=source, now=now)
        yield row


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
