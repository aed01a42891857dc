"""manage.py backtest: what a contract, or two rules, would have done."""

import sys
from argparse import ArgumentParser
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from strategies.backtest.engine import run
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.files import PENNY, market_of_file
from strategies.backtest.market import Market
from strategies.backtest.plan import (
    Account,
    Booking,
    Costs,
    LimitEntry,
    Plan,
    Sizing,
    Trailing,
    number_of,
    rule_of,
    sizing_of,
    slippage_of,
)
from strategies.backtest.request_fields import FIELDS, MONEY, Kind, usual
from strategies.backtest.result import Result
from strategies.contracts.schema import (
    TIMEFRAME_MINUTES,
    ContractError,
    StopKind,
    StopSpec,
    TargetKind,
    TargetSpec,
)
from strategies.rules.errors import SeriesMissing
from trading.venue.charges import ChargeBroker, ChargeSegment

SLOTS = 5


class Command(BaseCommand):
    help = (
        "Test a contract on stored candles, or two rules on a file of candles. Exit 0: tested; 2: refused, with the"
        " reason on standard error."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("contract", nargs="?", help="slug of a contract, or slug@version (default: the newest)")
        where = parser.add_argument_group("on what")
        where.add_argument("--symbols", nargs="+", metavar="SYMBOL", help="NSE:SBIN-EQ or SBIN (default: the universe)")
        where.add_argument("--feed", help=f"whose candles (default {usual('feed')})")
        where.add_argument("--candles", metavar="FILE", help="a .csv or .csv.gz file instead of stored candles")
        where.add_argument("--symbol", help="what the file's prices are of (default: its name)")
        where.add_argument("--from", dest="from_date", metavar="DATE", help="first exchange day, 2026-01-31")
        where.add_argument("--to", dest="to_date", metavar="DATE", help="last exchange day, included")
        where.add_argument("--timeframe", help=f"{', '.join(TIMEFRAME_MINUTES)} (default: the contract's, or 1d)")
        where.add_argument("--tick", default=str(PENNY), help="tick of the file's prices, rupees (default 0.01)")
        rules = parser.add_argument_group("rules, for a test without a contract")
        rules.add_argument("--long", metavar="RULE", help="buys where it is true")
        rules.add_argument("--short", metavar="RULE", help="sells short where it is true")
        rules.add_argument("--exit-long", metavar="RULE", help="closes what was bought")
        rules.add_argument("--exit-short", metavar="RULE", help="closes what was sold short")
        rules.add_argument("--reverse", action="store_true", help="an opposite signal closes and turns the position")
        rules.add_argument("--stop", metavar="PCT", help="stop, percent from the signal's price")
        rules.add_argument("--target", metavar="PCT", help="target, percent from the signal's price")
        rules.add_argument(
            "--trailing", metavar="PCT[:AFTER]", help="stop behind the best price, after a gain of AFTER %%"
        )
        rules.add_argument(
            "--limit",
            metavar="PCT[:BARS]",
            help="enter by limit orders below (above) the signal's price, for BARS bars",
        )
        rules.add_argument(
            "--book",
            nargs="+",
            default=[],
            metavar="PCT:SHARE",
            help="close SHARE %% of a position at a gain of PCT %%",
        )
        rules.add_argument("--max-bars", type=int, metavar="N", help="closes after so many bars")
        rules.add_argument(
            "--end", choices=("published", "plain"), default="published",
            help="what a signal on the last bar becomes: an order at that bar's open, as published results have it,"
            " or nothing",
        )  # fmt: skip
        money = parser.add_argument_group("money")
        for one in MONEY:
            told = one.meaning.replace("%", "%%") + (f" (default {one.usual})" if one.usual else "")
            money.add_argument(
                f"--{one.name}", help=told, choices=one.choices or None, type=int if one.kind is Kind.WHOLE else str
            )
        parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="parameters of the contract")
        parser.add_argument("--json", metavar="FILE", help="write the whole result there; - for standard output alone")

    def handle(self, *_: Any, **given: Any) -> None:
        try:
            result = _result(given)
            text = result.as_json()
            if given["json"] not in (None, "-"):
                _write(Path(given["json"]), text)
        except ContractError as error:
            self._refuse(f"{error.code}: {error}")
        except (BacktestRefused, SeriesMissing) as error:
            self._refuse(str(error))
        for warning in result.warnings:
            self.stderr.write(f"warning: {warning}")
        if given["json"] == "-":
            self.stdout.write(text, ending="")
        else:
            self.stdout.write(summary(result))

    def _refuse(self, line: str) -> None:
        self.stderr.write(f"error: {' '.join(line.split())}")
        sys.exit(2)


def _result(given: dict[str, Any]) -> Result:
    if (given["contract"] is None) == (given["candles"] is None):
        raise BacktestRefused(
            "ARGUMENTS",
            "Name a contract to test on stored candles, or give --candles FILE with rules of your own",
        )
    if given["slots"] is not None and given["slots"] < 1:
        raise BacktestRefused("SLOTS", f"There must be at least one slot, not {given['slots']}")
    plan, market = _quick_look(given) if given["candles"] else _contract(given)
    return run(plan, market)


def _quick_look(given: dict[str, Any]) -> tuple[Plan, Market]:
    _without(given, "a file of candles", "symbols", "set")
    path = Path(given["candles"])
    stop, target = given["stop"], given["target"]
    timeframe = given["timeframe"] or "1d"
    segment = ChargeSegment.EQUITY_DELIVERY if timeframe == "1d" else ChargeSegment.EQUITY_INTRADAY
    plan = Plan(
        name="rules",
        version="",
        long_entry=rule_of(given["long"], "--long"),
        short_entry=rule_of(given["short"], "--short"),
        long_exit=rule_of(given["exit_long"], "--exit-long"),
        short_exit=rule_of(given["exit_short"], "--exit-short"),
        stop=StopSpec(StopKind.PERCENT, _share(stop, "--stop", 50)) if stop else None,
        target=TargetSpec(TargetKind.PERCENT, _share(target, "--target", 500)) if target else None,
        trailing=_trailing(given["trailing"]),
        entry=_limit(given["limit"]),
        bookings=tuple(_booking(text) for text in given["book"]),
        max_bars=given["max_bars"],
        reverse=given["reverse"],
        rank=rule_of(given["rank"], "--rank", expect="number"),
        sizing=_sizing(given) or sizing_of("all_in"),
        account=_account(given, symbols=1),
        costs=_costs(given, segment),
        late_orders=given["end"] == "published",
    )
    market = market_of_file(
        path, symbol=given["symbol"] or path.name.partition(".")[0], timeframe=_minutes(timeframe),
        from_date=_day(given["from_date"], "--from"), to_date=_day(given["to_date"], "--to"), tick=_tick(given["tick"]),
    )  # fmt: skip
    return plan, market


def _contract(given: dict[str, Any]) -> tuple[Plan, Market]:
    from risk.policies import active_policy
    from strategies.backtest.request import HouseLimits, prepare, read_request

    _without(
        given, "a contract", "symbol", "long", "short", "exit_long", "exit_short", "reverse", "stop", "target",
        "trailing", "max_bars", "limit", "book",
    )  # fmt: skip
    asked = {one.name: given[one.name] for one in FIELDS if one.name in given}
    asked |= {"from": given["from_date"], "to": given["to_date"]}
    request = read_request(asked | {"parameters": _parameters(given["set"])})
    prepared = prepare(request, HouseLimits.of_policy(active_policy(None)))
    plan = prepared.plan()
    return plan, prepared.market(settling=plan.settling)


def summary(result: Result) -> str:
    """A few lines for people."""
    f, plan = result.figures, result.plan

    def shown(name: str, unit: str = "") -> str:
        value = f[name]
        return "unknown" if value is None else f"{value:,.2f}{unit}"

    charges = f"{plan.costs.charges.lower()} charges" if plan.costs.charges else "no charges"
    lines = [
        f"{plan.name} on {', '.join(result.market.symbols)}: {result.market.bars:,} bars, {plan.sizing}, {charges}",
        f"{len(result.trades)} trades, win rate {shown('win_rate_pct', ' %')}, best {shown('best_trade_pct', ' %')}",
        f"final equity {shown('final_equity')} from {plan.account.cash:,.2f}, charges {shown('charges')}",
        f"return {shown('return_pct', ' %')}, buy and hold {shown('buy_and_hold_pct', ' %')}",
        f"max drawdown {shown('max_drawdown_pct', ' %')}, exposure {shown('exposure_pct', ' %')}",
        f"Sharpe {shown('sharpe')}, Sortino {shown('sortino')}, CAGR {shown('cagr_pct', ' %')}",
    ]
    return "\n".join(lines)


# Words of the command line


def _account(given: dict[str, Any], *, symbols: int) -> Account:
    return Account(
        cash=number_of(given["cash"] or usual("cash"), "--cash"),
        leverage=number_of(given["leverage"] or "1", "--leverage"),
        slots=given["slots"] or min(SLOTS, symbols),
    )


def _costs(given: dict[str, Any], segment: ChargeSegment) -> Costs:
    word = given["charges"] or "none"
    broker = None if word == "none" else ChargeBroker(word.upper())
    return Costs(charges=broker, segment=segment, **slippage_of(given["slippage"] or usual("slippage")))


def _sizing(given: dict[str, Any]) -> Sizing | None:
    return sizing_of(given["sizing"]) if given["sizing"] else None


def _trailing(text: str | None) -> Trailing | None:
    if not text:
        return None
    distance, _, after = text.partition(":")
    return Trailing(number_of(distance, "--trailing"), number_of(after or "0", "--trailing"))


def _limit(text: str | None) -> LimitEntry | None:
    if not text:
        return None
    distance, _, bars = text.partition(":")
    if bars and not bars.isdecimal():
        raise BacktestRefused("NOT_A_NUMBER", f"--limit: {bars} is no number of bars")
    return LimitEntry(number_of(distance, "--limit"), int(bars or 1))


def _booking(text: str) -> Booking:
    gain, _, share = text.partition(":")
    return Booking(TargetSpec(TargetKind.PERCENT, _share(gain, "--book", 500)), _share(share, "--book", 100))


def _share(text: str, where: str, most: int) -> Decimal:
    value = number_of(text, where)
    if not 0 < value <= most:
        raise BacktestRefused("OUT_OF_RANGE", f"{where} is above 0 and at most {most} percent, not {value}")
    return value


def _tick(text: str) -> Decimal:
    tick = number_of(text, "--tick")
    if not Decimal("0.0001") <= tick <= 1_000 or tick % Decimal("0.0001"):
        raise BacktestRefused("TICK", f"A tick is at least 0.0001 rupees, in whole ten-thousandths, not {tick}")
    return tick


def _minutes(timeframe: str) -> int:
    if timeframe not in TIMEFRAME_MINUTES:
        raise BacktestRefused("TIMEFRAME", f"{timeframe} is no timeframe: {', '.join(TIMEFRAME_MINUTES)}")
    return TIMEFRAME_MINUTES[timeframe]


def _day(text: str | None, where: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BacktestRefused("NOT_A_DATE", f"{where}: {text} is not a day like 2026-01-31") from error


def _parameters(pairs: list[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise BacktestRefused("ARGUMENTS", f"--set takes name=value, not {pair}")
        values[name] = number_of(value, f"--set {name}")
    return values


def _without(given: dict[str, Any], what: str, *names: str) -> None:
    for name in names:
        if given[name]:
            raise BacktestRefused("ARGUMENTS", f"--{name.replace('_', '-')} does not go with {what}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BacktestRefused("NOT_WRITTEN", f"{path} cannot be written: {error.strerror}") from error
