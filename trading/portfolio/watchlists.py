"""Named lists of instruments: made, renamed, filled and put in order. Every change may be asked for twice."""

from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import Max

from accounts.models import User
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.marketdata.models import Instrument
from trading.portfolio.models import Watchlist, WatchlistItem

LISTS: int = 20
ITEMS: int = 200
NAME_LENGTH: int = 40


def watchlist_of(*, owner: User, watchlist_id: int) -> Watchlist:
    """One list of this person, held until the transaction ends. NotFound for another's, and for none."""
    found = Watchlist.objects.for_user(owner).select_for_update().filter(pk=watchlist_id).first()
    if found is None:
        raise NotFound("WATCHLIST_NOT_FOUND", "There is no such watchlist.")
    return found


def instrument_named(symbol: str) -> Instrument:
    """An instrument that is listed, by its whole symbol or by what a trader calls it (`sbin`)."""
    typed = symbol.strip().upper()
    wanted = typed if ":" in typed else f"NSE:{typed}-EQ"
    can_be = len(wanted) <= 60 and wanted.isprintable()
    found = Instrument.objects.filter(symbol=wanted, active=True).first() if can_be else None
    if found is None:
        raise NotFound("INSTRUMENT_NOT_FOUND", f"There is no instrument “{typed[:60]}” in the masters of today.")
    return found


@transaction.atomic
def watchlist_create(*, owner: User, name: str) -> Watchlist:
    """A new, empty list; the one that is there when the name is taken already."""
    name = _named(name)
    User.objects.select_for_update(no_key=True).get(pk=owner.pk)  # two windows of one person wait for each other here
    mine = Watchlist.objects.for_user(owner)
    known = mine.filter(name__iexact=name).first()
    if known is not None:
        return known
    if mine.count() >= LISTS:
        raise NotAllowed("TOO_MANY_WATCHLISTS", f"{LISTS} watchlists are the most: delete one first.", limit=LISTS)
    return Watchlist.objects.create(owner=owner, name=name)


@transaction.atomic
def watchlist_rename(*, owner: User, watchlist_id: int, name: str) -> Watchlist:
    """Another name for a list; Conflict when another list has it."""
    watchlist = watchlist_of(owner=owner, watchlist_id=watchlist_id)
    watchlist.name = _named(name)
    try:
        with transaction.atomic():
            watchlist.save(update_fields=["name"])
    except IntegrityError:
        raise Conflict("WATCHLIST_NAME_TAKEN", f"Another of your watchlists is called “{watchlist.name}”.") from None
    return watchlist


@transaction.atomic
def watchlist_delete(*, owner: User, watchlist_id: int) -> None:
    """The list and its rows; the instruments are everybody's and stay."""
    watchlist_of(owner=owner, watchlist_id=watchlist_id).delete()


@transaction.atomic
def watchlist_add(*, owner: User, watchlist_id: int, symbol: str) -> WatchlistItem:
    """Put an instrument at the end of a list; where it is in it already, it stays where it is."""
    watchlist = watchlist_of(owner=owner, watchlist_id=watchlist_id)
    instrument = instrument_named(symbol)
    known = watchlist.items.filter(instrument=instrument).first()
    if known is not None:
        return known
    if watchlist.items.count() >= ITEMS:
        raise NotAllowed("WATCHLIST_FULL", f"A watchlist holds {ITEMS} instruments: remove one first.", limit=ITEMS)
    last = watchlist.items.aggregate(last=Max("place"))["last"] or 0
    return watchlist.items.create(instrument=instrument, place=last + 1)


@transaction.atomic
def watchlist_remove(*, owner: User, watchlist_id: int, symbol: str) -> bool:
    """Take an instrument out of a list; False when it was not in it."""
    watchlist = watchlist_of(owner=owner, watchlist_id=watchlist_id)
    held = {item.instrument.symbol: item for item in watchlist.items.select_related("instrument")}
    item = held.get(symbol.strip().upper())
    return item is not None and bool(item.delete()[0])


@transaction.atomic
def watchlist_arrange(*, owner: User, watchlist_id: int, symbols: Sequence[str]) -> Watchlist:
    """Put a list into a new order. Every one of its instruments must be named once: Conflict when the list changed."""
    watchlist = watchlist_of(owner=owner, watchlist_id=watchlist_id)
    items = {item.instrument.symbol: item for item in watchlist.items.select_related("instrument")}
    if sorted(symbols) != sorted(items):
        raise Conflict("WATCHLIST_CHANGED", "The watchlist has changed meanwhile: look at it again.", now=len(items))
    for place, symbol in enumerate(symbols, start=1):
        items[symbol].place = place
    WatchlistItem.objects.bulk_update(items.values(), ["place"])
    return watchlist


@transaction.atomic
def watchlist_move(*, owner: User, watchlist_id: int, symbol: str, up: bool) -> Watchlist:
    """One place up or down; at the end of the list it stays."""
    watchlist = watchlist_of(owner=owner, watchlist_id=watchlist_id)
    order = list(watchlist.items.values_list("instrument__symbol", flat=True))
    if symbol not in order:
        raise Conflict("WATCHLIST_CHANGED", "The watchlist has changed meanwhile: look at it again.", now=len(order))
    at = order.index(symbol)
    to = max(0, at - 1) if up else min(len(order) - 1, at + 1)
    order.insert(to, order.pop(at))
    return watchlist_arrange(owner=owner, watchlist_id=watchlist_id, symbols=order)


def _named(name: str) -> str:
    """What may name a list: something to read, on one line."""
    text = " ".join(name.split())
    if not text or len(text) > NAME_LENGTH or not text.isprintable():
        raise NotAllowed("WATCHLIST_NAME", f"A name has 1 to {NAME_LENGTH} characters on one line.", limit=NAME_LENGTH)
    return text
