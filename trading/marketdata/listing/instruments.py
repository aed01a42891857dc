"""What can be traded: a broker's instrument master, taken over as a whole or not at all, with every change on record.

An instrument is known by ISIN and token rather than by its name (`matching`), so that candles, memberships and orders
stay with it when it is renamed. Rows travel by COPY: a hundred thousand contracts are a matter of seconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from django.db import connection, transaction

from trading.audit.record import record
from trading.domain.errors import TradingError
from trading.marketdata.listing.matching import Identity, Matcher
from trading.marketdata.listing.renames import all_renames, known_renames, names_between
from trading.marketdata.listing.rows import Found, insert_new, insert_terms, stored_rows, tie_contracts, update_changed
from trading.marketdata.listing.universes import Gone, gone_members, set_members
from trading.marketdata.models import (
    FormerIdentity,
    Instrument,
    InstrumentChange,
    InstrumentRefresh,
    SectorStay,
    Universe,
)
from trading.monitoring.alerts import clear_alerts, raise_alert
from trading.venue.sessions import exchange_date

TOLD = 50  # names an audit entry tells; the rest is in InstrumentChange
MOST_REFUSED = 0.02  # share of impossible lines above which the whole master is in doubt
LEAST_LEFT = 0.6  # a whole master with fewer lines than this share of what its market lists is a cut one
CHECKED_FROM = 200  # lines a market must have before its shrinking means something
DERIVATIVE_UNIVERSE = "fno-underlyings"
FIELDS = (
    "name", "exchange", "segment", "instrument_type", "fy_token", "kite_token", "exchange_token", "isin", "tick_size",
    "lot_size", "freeze_quantity", "underlying_name", "expiry", "strike", "option_type",
)  # fmt: skip
KEPT_WHEN_ABSENT = frozenset({"fy_token", "kite_token", "exchange_token", "isin", "freeze_quantity", "underlying_name"})
TERMS = frozenset({"tick_size", "lot_size", "freeze_quantity"})


class MasterRefused(TradingError):
    """This master cannot be what it says it is. Nothing was changed."""


class Listed(Protocol):
    """A line of a master, as far as this floor needs it. Tick in rupees, lot and freeze in units.

    May also have `sector`, `kite_token`, `exchange_token`, `underlying`, `underlying_token`, `expiry`, `strike` and
    `option_type`. Tokens, ISIN, freeze and sector may be empty: what is known of them then stays.
    """

    @property
    def symbol(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def segment(self) -> str: ...
    @property
    def instrument_type(self) -> str: ...
    @property
    def fy_token(self) -> str: ...
    @property
    def isin(self) -> str: ...
    @property
    def tick_size(self) -> Decimal: ...
    @property
    def lot_size(self) -> int: ...
    @property
    def freeze_quantity(self) -> int | None: ...


@dataclass(slots=True)
class Diff:
    """What a refresh changed. `changed`: symbol → field → (before, after), as text; `renamed`: new → old symbol."""

    added: list[str] = field(default_factory=list)
    changed: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    expired: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # lines that cannot be true: symbol → why
    listed: int = 0
    refresh_id: int | None = None

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.renamed or self.returned or self.retired or self.expired)

    def counts(self) -> dict[str, int]:
        return {
            "added": len(self.added), "changed": len(self.changed), "renamed": len(self.renamed),
            "returned": len(self.returned), "retired": len(self.retired), "expired": self.expired,
            "refused": len(self.refused),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a master came from. `as_of`: the exchange day it says it is of; None: the day of the refresh."""

    source: str = "FYERS"
    file_name: str = ""
    sha256: str = ""
    as_of: date | None = None


def refresh_instruments(
    listed: Iterable[Listed],
    *,
    now: datetime,
    retire: bool = False,
    actor: str = "desk",
    origin: Origin | None = None,
    force: bool = False,
) -> Diff:
    """Take over a master: add, change, rename, and (with `retire`) put out of use what its markets list no more.

    `now` is venue time; the master's day dates what changed. `retire` is for a whole master, never for a part of one.
    An instrument is never deleted. A line that cannot be true is refused and told, the others are taken. Stored
    (InstrumentRefresh) and audited, the refusals too. `force` takes an older or a much shorter master all the same.
    Errors: MasterRefused (EMPTY_MASTER, DUPLICATE_LINES, TOO_MANY_WRONG_LINES, SHRUNK_MASTER, OLDER_MASTER).
    """
    came = origin or Origin()
    day = came.as_of or exchange_date(now)
    try:
        with transaction.atomic():
            return _refresh(list(listed), day=day, now=now, retire=retire, actor=actor, came=came, force=force)
    except MasterRefused as error:
        refuse(error, now=now, actor=actor, origin=came)
        raise


def refuse(error: TradingError, *, now: datetime, actor: str, origin: Origin) -> None:
    """Put on record that a master was not taken, and why."""
    InstrumentRefresh.objects.create(
        at=now, as_of=origin.as_of, source=origin.source, file_name=origin.file_name[:200], sha256=origin.sha256,
        actor=actor, outcome=InstrumentRefresh.Outcome.REFUSED, code=error.code, message=error.message[:400],
    )  # fmt: skip
    record(
        "instruments.refused", actor=actor, source=origin.source, file=origin.file_name, code=error.code,
        message=error.message,
    )  # fmt: skip


def _refresh(
    listed: list[Listed], *, day: date, now: datetime, retire: bool, actor: str, came: Origin, force: bool
) -> Diff:
    with connection.cursor() as cursor:  # one refresh at a time
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('instruments', 0))")
    diff = Diff()
    lines = _sound(listed, diff)
    markets = sorted({f"{line.exchange} {line.segment}" for line in lines.values()})
    known = stored_rows(markets, list(lines))
    if retire and not force:
        _refuse_shrunken(lines, known, day)
    if came.as_of is not None and not force:
        _refuse_older(markets, came)
    refresh = InstrumentRefresh.objects.create(
        at=now, as_of=day, source=came.source, markets=" ".join(",".join(markets).split())[:60], listed=len(lines),
        file_name=came.file_name[:200], sha256=came.sha256, actor=actor, outcome=InstrumentRefresh.Outcome.TAKEN,
    )  # fmt: skip
    diff.refresh_id, diff.listed = refresh.pk, len(lines)
    _take_over(lines, known, diff, day=day, source=came.source)
    if retire:
        _retire(lines, known, diff, day=day)
        _tell_gone_members(day)
    refresh.counts = diff.counts()
    if not diff:
        refresh.outcome = InstrumentRefresh.Outcome.NOTHING_NEW
    refresh.save(update_fields=["counts", "outcome"])
    _keep_changes(refresh, diff, {line.symbol for line in lines.values() if line.segment == "FO"})
    if diff or diff.refused:
        record(
            "instruments.refreshed", actor=actor, subject=str(refresh.pk), source=came.source, file=came.file_name,
            as_of=day, listed=len(lines), counts=diff.counts(), added=diff.added[:TOLD],
            changed=dict(list(diff.changed.items())[:TOLD]), renamed=diff.renamed, returned=diff.returned[:TOLD],
            retired=diff.retired[:TOLD], refused=dict(list(diff.refused.items())[:TOLD]),
        )  # fmt: skip
    return diff


# -- what may be taken -------------------------------------------------------------------------------------------------


def _sound(listed: list[Listed], diff: Diff) -> dict[str, Listed]:
    lines: dict[str, Listed] = {}
    twice: list[str] = []
    for line in listed:
        if why := _wrong(line):
            diff.refused[line.symbol] = why
        elif line.symbol in lines:
            twice.append(line.symbol)
        else:
            lines[line.symbol] = line
    if not lines and not diff.refused:
        raise MasterRefused("EMPTY_MASTER", "the master lists nothing")
    if twice:
        raise MasterRefused(
            "DUPLICATE_LINES", f"{len(twice)} symbols are listed twice, such as {twice[0]}", symbols=twice[:TOLD]
        )
    if len(diff.refused) > max(5, MOST_REFUSED * len(listed)):
        symbol, why = next(iter(diff.refused.items()))
        raise MasterRefused(
            "TOO_MANY_WRONG_LINES",
            f"{len(diff.refused)} of {len(listed)} lines cannot be true, such as {symbol}: {why}",
        )
    return lines


def _wrong(line: Listed) -> str:
    if not line.symbol or ":" not in line.symbol or not line.symbol.isprintable():
        return "no symbol"
    if not line.tick_size.is_finite() or not 0 < line.tick_size < 10_000:
        return f"tick {line.tick_size}"
    if not 1 <= line.lot_size < 2**31:
        return f"lot {line.lot_size}"
    if line.freeze_quantity is not None and not 1 <= line.freeze_quantity < 2**31:
        return f"freeze quantity {line.freeze_quantity}"
    strike = getattr(line, "strike", None)
    if strike is not None and (not strike.is_finite() or not 0 <= strike < 10**9):
        return f"strike {strike}"
    if line.segment == "FO" and getattr(line, "expiry", None) is None:
        return "a contract without expiry"
    for name, limit in _LIMITS.items():
        if len(_value(line, name) or "") > limit:
            return f"{name} of more than {limit} characters"
    return ""


_LIMITS: dict[str, int] = {
    name: limit
    for name in ("symbol", *FIELDS)
    if (limit := getattr(Instrument._meta.get_field(name), "max_length", None)) is not None
}


def _value(line: Listed, name: str) -> Any:
    if name == "underlying_name":
        return (getattr(line, "underlying", None) or "") if line.segment == "FO" else ""
    if name == "option_type":
        return getattr(line, "option_type", None) or ""
    if name in ("kite_token", "exchange_token"):
        return getattr(line, name, "") or ""
    return getattr(line, name, None)


def _refuse_shrunken(lines: Mapping[str, Listed], known: Iterable[Found], day: date) -> None:
    """A cut file still reads well. Its length gives it away."""
    now_listed: dict[str, int] = {}
    for line in lines.values():
        market = f"{line.exchange} {line.segment}"
        now_listed[market] = now_listed.get(market, 0) + 1
    before: dict[str, int] = {}
    for one in known:
        if one.active and one.master_date is not None and (one.expiry is None or one.expiry >= day):
            before[one.market] = before.get(one.market, 0) + 1
    for market, count in now_listed.items():
        had = before.get(market, 0)
        if had >= CHECKED_FROM and count < LEAST_LEFT * had:
            raise MasterRefused(
                "SHRUNK_MASTER", f"{market}: {count} lines where {had} are listed: the file is cut, or a part",
                lines=count, listed=had,
            )  # fmt: skip


def _refuse_older(markets: list[str], came: Origin) -> None:
    name = " ".join(",".join(markets).split())[:60]
    newest = (
        InstrumentRefresh.objects.filter(markets=name, source=came.source)
        .exclude(outcome=InstrumentRefresh.Outcome.REFUSED)
        .order_by("-as_of")
        .values_list("as_of", flat=True)
        .first()
    )
    if newest is not None and came.as_of is not None and came.as_of < newest:
        raise MasterRefused(
            "OLDER_MASTER", f"{name}: a master of {came.as_of} after one of {newest}", as_of=came.as_of, newest=newest
        )


# -- taking over -------------------------------------------------------------------------------------------------------


def _take_over(lines: Mapping[str, Listed], known: list[Found], diff: Diff, *, day: date, source: str) -> None:
    rows = {one.pk: one for one in known}
    matcher = Matcher(
        [Identity(one.pk, one.symbol, one.market, one.values["isin"], one.values["fy_token"]) for one in known],
        listed=set(lines), renames=known_renames(),
    )  # fmt: skip
    new: list[tuple[str, dict[str, Any]]] = []
    touched: dict[int, dict[str, Any]] = {}
    former: list[FormerIdentity] = []
    new_terms: list[tuple[int, dict[str, Any]]] = []
    parked: dict[int, str] = {}
    for symbol, line in lines.items():
        found, holder = matcher.find(
            symbol=symbol, market=f"{line.exchange} {line.segment}", isin=line.isin, token=line.fy_token
        )
        if holder is not None:  # the name now belongs to somebody else
            parked[holder.key] = symbol
        after = {name: _value(line, name) for name in FIELDS}
        if found is None:
            new.append((symbol, after))
            diff.added.append(symbol)
            continue
        row = rows[found.key]
        changes = _changes(row, symbol, after)
        if "symbol" in changes:
            diff.renamed[symbol] = row.symbol
        if "symbol" in changes or ("isin" in changes and row.values["isin"]):
            former.append(_former(row, day, source))
            former += _between(row, symbol)
        if plain := {name: change for name, change in changes.items() if name not in ("symbol", "active")}:
            diff.changed[symbol] = {name: (_text(before), _text(now)) for name, (before, now) in plain.items()}
        if "active" in changes:
            diff.returned.append(symbol)
        if changes:
            touched[row.pk] = {name: now for name, (_, now) in changes.items()}
        if TERMS & changes.keys() or row.listed_from is None:
            new_terms.append((row.pk, {name: after[name] or row.values[name] for name in TERMS}))
    diff.added.sort()
    for pk, symbol in parked.items():
        if "symbol" not in touched.get(pk, {}):
            touched.setdefault(pk, {}).update(symbol=f"{symbol}~{day:%y%m%d}"[:60], active=False)
            former.append(_former(rows[pk], day, source))
            diff.retired.append(symbol)
    update_changed(rows, touched, day=day, listed=[pk for pk, one in rows.items() if _is_listed(one, touched, lines)])
    made = insert_new(new, day=day)
    new_terms += [(made[symbol], {name: after[name] for name in TERMS}) for symbol, after in new]
    insert_terms(new_terms, day=day, source=source)
    FormerIdentity.objects.bulk_create(former, ignore_conflicts=True)
    _take_sectors(lines, day=day, source=source)
    _link_underlyings(lines, day=day)


def _is_listed(row: Found, touched: Mapping[int, dict[str, Any]], lines: Mapping[str, Listed]) -> bool:
    return touched.get(row.pk, {}).get("symbol", row.symbol) in lines


def _former(row: Found, day: date, source: str) -> FormerIdentity:
    """A master says that a name is gone, not since when: the shipped list knows some of the days."""
    last = _day_before(day)
    for one in all_renames():
        if one.old == row.symbol and one.from_date <= day:
            last, source = _day_before(one.from_date), one.source[:120]
    return FormerIdentity(
        instrument_id=row.pk, symbol=row.symbol, isin=row.values["isin"], fy_token=row.values["fy_token"],
        until_date=last, source=source,
    )  # fmt: skip


def _between(row: Found, symbol: str) -> list[FormerIdentity]:
    """Names that a share had and lost again between two masters, as far as the shipped list knows them."""
    return [
        FormerIdentity(
            instrument_id=row.pk, symbol=one.old, isin=row.values["isin"], fy_token=row.values["fy_token"],
            until_date=_day_before(one.from_date), source=one.source[:120],
        )
        for one in names_between(row.symbol, symbol)[1:]
    ]  # fmt: skip


def _changes(row: Found, symbol: str, after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    changes: dict[str, tuple[Any, Any]] = {}
    if row.symbol != symbol:
        changes["symbol"] = (row.symbol, symbol)
    for name in FIELDS:
        before, now = row.values[name], after[name]
        if before != now and not (name in KEPT_WHEN_ABSENT and not now):
            changes[name] = (before, now)
    if not row.active:
        changes["active"] = (False, True)
    return changes


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _retire(lines: Mapping[str, Listed], known: list[Found], diff: Diff, *, day: date) -> None:
    markets = {f"{line.exchange} {line.segment}" for line in lines.values()}
    renamed = set(diff.renamed.values())
    gone = [
        one for one in known
        if one.active and one.market in markets and one.symbol not in lines and one.symbol not in renamed
    ]  # fmt: skip
    diff.retired += sorted(one.symbol for one in gone if one.expiry is None or one.expiry >= day)
    diff.expired = sum(1 for one in gone if one.expiry is not None and one.expiry < day)
    Instrument.objects.filter(pk__in=[one.pk for one in gone]).update(active=False)


def _tell_gone_members(day: date) -> None:
    """Lists of an index that name a share no master lists: it is traded by nobody, and somebody should know."""
    found: dict[str, list[Gone]] = {}
    for one in gone_members(day):
        found.setdefault(one.universe, []).append(one)
    for universe in Universe.objects.exclude(name__in=found):
        clear_alerts("MEMBERS_GONE", about=universe.name)
    for name, gone in found.items():
        told = ", ".join(f"{one.symbol} (now {one.perhaps}?)" if one.perhaps else one.symbol for one in gone[:5])
        raise_alert(
            "MEMBERS_GONE", f"{len(gone)} of {name} are listed by no master any more: {told}", about=name,
            next_step="Renamed or delisted? Bring the exchange's list of today: manage.py import_universe.",
        )  # fmt: skip


def _take_sectors(lines: Mapping[str, Listed], *, day: date, source: str) -> None:
    known = {symbol: sector for symbol, line in lines.items() if (sector := getattr(line, "sector", None))}
    if known:
        set_sectors(known, day=day, source=source)


def set_sectors(sectors: Mapping[str, str], *, day: date, source: str) -> dict[str, tuple[str, str]]:
    """Count instruments to sectors from a day on: symbol → sector. Gives what changed: symbol → (before, after)."""
    changed: dict[str, tuple[str, str]] = {}
    for row in Instrument.objects.filter(symbol__in=sectors).order_by("pk"):
        sector = sectors[row.symbol][:60]
        if row.sector == sector and row.sector_stays.exists():
            continue
        changed[row.symbol] = (row.sector, sector)
        row.sector_stays.filter(to_date__isnull=True, from_date__lt=day).update(to_date=_day_before(day))
        SectorStay.objects.update_or_create(
            instrument=row, from_date=day, defaults={"sector": sector, "to_date": None, "source": source[:120]}
        )
        Instrument.objects.filter(pk=row.pk).update(sector=sector)
    return {symbol: change for symbol, change in changed.items() if change[0] != change[1]}


def _day_before(day: date) -> date:
    return date.fromordinal(day.toordinal() - 1)


# -- contracts and what they are on ------------------------------------------------------------------------------------

INDEX_SYMBOLS = {
    "NIFTY": "NSE:NIFTY50-INDEX", "BANKNIFTY": "NSE:NIFTYBANK-INDEX", "FINNIFTY": "NSE:FINNIFTY-INDEX",
    "MIDCPNIFTY": "NSE:MIDCPNIFTY-INDEX", "NIFTYNXT50": "NSE:NIFTYNXT50-INDEX", "SENSEX": "BSE:SENSEX-INDEX",
    "BANKEX": "BSE:BANKEX-INDEX", "SENSEX50": "BSE:SENSEX50-INDEX",
}  # fmt: skip


def _link_underlyings(lines: Mapping[str, Listed], *, day: date) -> None:
    """Tie contracts to their underlying, and keep the dated list of shares and indices that have contracts."""
    names: dict[tuple[str, str], str] = {}  # exchange and name of the underlying → its token
    exchanges: dict[str, set[str]] = {}
    for line in lines.values():
        if line.segment == "FO":
            name = _value(line, "underlying_name")
            names[line.exchange, name] = getattr(line, "underlying_token", "") or ""
            exchanges.setdefault(line.exchange, set()).add(name)
    if not names:
        return
    tokens = [token for token in names.values() if token]
    by_token = dict(Instrument.objects.filter(fy_token__in=tokens).values_list("fy_token", "pk"))
    guesses = {key: INDEX_SYMBOLS.get(key[1], f"{key[0]}:{key[1]}-{'EQ' if key[0] == 'NSE' else 'A'}") for key in names}
    by_symbol = dict(Instrument.objects.filter(symbol__in=guesses.values()).values_list("symbol", "pk"))
    tied: dict[str, list[int]] = {exchange: [] for exchange in exchanges}
    ties: list[tuple[str, str, int]] = []
    for (exchange, name), token in names.items():
        pk = by_token.get(token) or by_symbol.get(guesses[exchange, name])
        if pk is not None:
            tied[exchange].append(pk)
            ties.append((exchange, name, pk))
    tie_contracts(ties)
    for exchange, pks in tied.items():
        universe, _ = Universe.objects.get_or_create(
            name=f"{exchange.lower()}-{DERIVATIVE_UNIVERSE}",
            defaults={"description": f"{exchange}: what has futures or options"},
        )
        set_members(universe, pks, day=day)
        if exchange == "NSE":
            Instrument.objects.filter(pk__in=pks, has_derivatives=False).update(has_derivatives=True)
            stale = Instrument.objects.filter(has_derivatives=True, exchange="NSE", segment="CM").exclude(pk__in=pks)
            if len(pks) >= CHECKED_FROM // 2:  # a small list is a part of one, and says nothing about the others
                stale.update(has_derivatives=False)


# -- the record --------------------------------------------------------------------------------------------------------


def _keep_changes(refresh: InstrumentRefresh, diff: Diff, contracts: set[str]) -> None:
    kind = InstrumentChange.Kind

    def make(kind: str, symbol: str, **more: str) -> InstrumentChange:
        return InstrumentChange(refresh=refresh, kind=kind, symbol=symbol[:60], **more)

    rows = [make(kind.ADDED, symbol) for symbol in diff.added if symbol not in contracts]
    rows += [make(kind.RENAMED, new, field="symbol", before=old, after=new) for new, old in diff.renamed.items()]
    for symbol, fields in diff.changed.items():
        rows += [
            make(kind.CHANGED, symbol, field=name, before=before[:120], after=after[:120])
            for name, (before, after) in fields.items()
        ]
    rows += [make(kind.RETURNED, symbol) for symbol in diff.returned if symbol not in contracts]
    rows += [make(kind.RETIRED, symbol) for symbol in diff.retired if symbol not in contracts]
    rows += [make(kind.REFUSED, symbol, after=why[:120]) for symbol, why in diff.refused.items()]
    InstrumentChange.objects.bulk_create(rows, batch_size=2000)
