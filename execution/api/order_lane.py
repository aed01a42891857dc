"""Orders that programs post, decided together with all that belongs to a request: who asks, how often, and whether for
the first time.

What never changes without its row changing is kept: the key with its owner, the portfolio with its account, the
instrument. The statement of the facts says whether each is still as it is kept, so a key that was revoked a moment ago
opens nothing. The record of a request is written with its answer in the transaction of the order. Whatever is not as
usual (a stranger, a repeat, one call too many, a wish that cannot be an order) is left undone here: nothing was written
for it, and the long way begins from the beginning.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import connection, models
from django.utils import timezone
from prometheus_client import Counter
from rest_framework.exceptions import APIException

from accounts.api_keys import digest_of
from accounts.models import ApiKey
from execution.api.placing import Kept, wanted
from execution.api.serializers import usual_ticket
from execution.services.intent_create import Ask, Decided
from execution.services.order_ticket import ticket_ask, tickets_decide
from trading.api.idempotency import Answer, keep_answers, request_hash
from trading.api.parsers import read_object
from trading.api.problems import MEDIA_TYPE
from trading.api.throttling import Counted, counting
from trading.domain.errors import TradingError
from trading.marketdata.clocks import venue_now
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio
from trading.statements import Versioned, ask, version_of
from trading.valkey import Errand, run_errands

logger = logging.getLogger(__name__)
M = TypeVar("M", bound=models.Model)
WAYS = Counter("tarazu_orders_posted_total", "Orders of programs by the way that answered them", ["way"])
MOST_KEPT = 4096

KEYS = Versioned(ApiKey, "owner", where="WHERE t.digest = ANY(%(names)s)")
PORTFOLIOS = Versioned(Portfolio, "account", where="""
JOIN jsonb_to_recordset(%(names)s::jsonb) AS w (owner bigint, portfolio bigint)
  ON t.owner_id = w.owner AND (w.portfolio IS NULL OR t.id = w.portfolio)
""")  # fmt: skip
INSTRUMENTS = Versioned(Instrument, "underlying", where="WHERE t.symbol = ANY(%(names)s) AND t.active")
# Of each wish: whether its key, its portfolio and its instrument are as they are kept, and its own key is new.
STILL = f"""
SELECT
    (SELECT {version_of("k", "u")} FROM accounts_apikey k JOIN accounts_user u ON u.id = k.owner_id
     WHERE k.id = w.api_key) = w.as_key,
    (SELECT {version_of("p", "a")} FROM portfolio_portfolio p JOIN accounts_brokeraccount a ON a.id = p.account_id
     WHERE p.id = w.portfolio) = w.as_portfolio
    AND (w.named OR NOT EXISTS (SELECT FROM portfolio_portfolio o WHERE o.owner_id = w.owner AND o.id <> w.portfolio)),
    (SELECT {version_of("i", "n")} FROM marketdata_instrument i LEFT JOIN marketdata_instrument n
     ON n.id = i.underlying_id WHERE i.id = w.instrument) = w.as_instrument,
    NOT EXISTS (SELECT FROM api_idempotencyrecord r WHERE r.owner_id = w.owner AND r.key = w.name)
FROM jsonb_to_recordset(%(wishes)s::jsonb) AS w (
    place int, owner bigint, name text, api_key bigint, as_key text, portfolio bigint, named boolean, as_portfolio text,
    instrument bigint, as_instrument text
)
ORDER BY w.place
"""  # noqa: S608 - our own names


@dataclass(frozen=True, slots=True)
class Posted:
    """One request in the usual form: the digest of its API key, its own key, its ticket, the hash of what it asks."""

    digest: str
    key: str
    ticket: dict[str, Any]
    asked: str
    at: datetime

    @classmethod
    def read(cls, token: str, key: str, raw: bytes, *, address: str, now: datetime) -> "Posted | None":
        try:
            body = read_object(raw)
        except APIException:
            return None
        ticket = usual_ticket(body)
        if ticket is None:
            return None
        return cls(digest_of(token), key, ticket, request_hash("POST", address, body), now)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request is answered. Without a body nothing was done for it but to count the call, if that is there."""

    counted: Counted | None = None
    status: int = 0
    body: bytes | None = None

    @property
    def content_type(self) -> str:
        return MEDIA_TYPE if self.status >= 400 else "application/json"


@dataclass(frozen=True, slots=True)
class Version(Generic[M]):
    """A row, with the rows it points to, as it was in a version."""

    row: M
    version: str


class Known(Generic[M]):
    """Rows by the names that programs use, as they were when they were last read. The newest stay."""

    def __init__(self, read: Callable[[Sequence[Any]], Iterable[tuple[Any, M, str]]]) -> None:
        self._read = read
        self._rows: OrderedDict[Any, Version[M]] = OrderedDict()

    def of(self, names: Iterable[Any]) -> dict[Any, Version[M]]:
        """By name; what is not kept is read, and what is not there is left out."""
        found, missing = {}, []
        for name in dict.fromkeys(names):
            known = self._rows.get(name)
            if known is None:
                missing.append(name)
            else:
                found[name] = known
        if missing:
            for name, row, version in self._read(missing):
                found[name] = self._rows[name] = Version(row, version)
            while len(self._rows) > MOST_KEPT:
                self._rows.popitem(last=False)
        return found

    def get(self, name: Any) -> Version[M] | None:
        return self._rows.get(name)

    def forget(self, name: Any) -> None:
        self._rows.pop(name, None)

    def forget_all(self) -> None:
        self._rows.clear()


def _read_keys(digests: Sequence[str]) -> Iterable[tuple[str, ApiKey, str]]:
    return [(row.digest, row, version) for row, version in KEYS.with_versions({"names": list(digests)})]


def _read_portfolios(names: Sequence[tuple[int, int | None]]) -> Iterable[tuple[Any, Portfolio, str]]:
    """By owner and number; without a number the only one of the owner."""
    rows = PORTFOLIOS.with_versions({"names": json.dumps([{"owner": one, "portfolio": which} for one, which in names])})
    for owner_id, which in names:
        fit = {row.pk: (row, version) for row, version in rows if row.owner_id == owner_id and which in (None, row.pk)}
        if len(fit) == 1:
            yield ((owner_id, which), *fit.popitem()[1])


def _read_instruments(symbols: Sequence[str]) -> Iterable[tuple[str, Instrument, str]]:
    return [(row.symbol, row, version) for row, version in INSTRUMENTS.with_versions({"names": list(symbols)})]


_keys: Known[ApiKey] = Known(_read_keys)
_portfolios: Known[Portfolio] = Known(_read_portfolios)
_instruments: Known[Instrument] = Known(_read_instruments)


def forget_all() -> None:
    """Read everything anew."""
    for known in (_keys, _portfolios, _instruments):
        known.forget_all()


def account_of(posted: Posted) -> object:
    """What orders that should be decided together have in common: the account, as far as it is known."""
    key = _keys.get(posted.digest)
    portfolio = key and _portfolios.get((key.row.owner_id, posted.ticket.get("portfolio")))
    return portfolio.row.account_id if portfolio else posted.digest


@dataclass(slots=True)
class Order:
    """One request on its way, with the rows it names."""

    posted: Posted
    key: Version[ApiKey]
    counted: Counted | None = None
    portfolio: Version[Portfolio] | None = None
    instrument: Version[Instrument] | None = None
    wish: Ask | None = None
    answer: Kept | None = None

    @property
    def has_a_call(self) -> bool:
        """Left, as far as it was counted."""
        return self.counted is None or not self.counted.is_one_too_many

    @property
    def portfolio_name(self) -> tuple[int, int | None]:
        return self.key.row.owner_id, self.posted.ticket.get("portfolio")

    def forget(self) -> None:
        """Read all anew for the next one."""
        _keys.forget(self.posted.digest)
        _portfolios.forget(self.portfolio_name)
        _instruments.forget(self.posted.ticket["symbol"])


_spent: dict[int, float] = {}
"""Until when a key has no call left. It is asked for before anything else is; all others are counted on the way."""


def _counting(orders: Sequence[Order]) -> list[Errand]:
    """A call of each, once."""
    orders = [one for one in orders if one.counted is None]

    def take(counts: Sequence[Counted]) -> None:
        for one, count in zip(orders, counts, strict=True):
            one.counted = count
            if count.count >= count.limit:
                if len(_spent) >= MOST_KEPT:
                    _spent.clear()
                _spent[one.key.row.pk] = timezone.now().timestamp() + count.reset_s

    return [counting("write", [f"key:{one.key.row.pk}" for one in orders], take)] if orders else []


class OrderLane:
    """Answers what programs post, several at once."""

    def answer(self, posted: Sequence[Posted]) -> list[Answered]:
        """Of each its answer, or an empty one: that it is for the long way."""
        found: dict[int, Order] = {}
        try:
            self._find(posted, found)
            self._decide([one for one in found.values() if one.wish is not None])
        except Exception:
            logger.exception("orders were left to the long way")
            connection.close()
        if connection.errors_occurred:  # the next turn has another
            connection.close()
        answers = [_told(found.get(place)) for place in range(len(posted))]
        short = sum(one.body is not None for one in answers)
        WAYS.labels(way="short").inc(short)
        WAYS.labels(way="long").inc(len(answers) - short)
        return answers

    def rest(self) -> None:
        """Nobody orders: the connection is given back."""
        connection.close()

    def _find(self, posted: Sequence[Posted], found: dict[int, Order]) -> None:
        """Who they are, whether each has a call left, and what they name."""
        now = timezone.now()
        keys = _keys.of(one.digest for one in posted)
        for place, request in enumerate(posted):
            key = keys.get(request.digest)
            if key is None:
                continue
            if key.row.scope == ApiKey.Scope.TRADE and key.row.opens_at(now) and key.row.is_noted_at(now):
                found[place] = Order(request, key)
            else:
                _keys.forget(request.digest)
        if _spent:
            spent = [one for one in found.values() if _spent.get(one.key.row.pk, 0.0) > now.timestamp()]
            run_errands(*_counting(spent))
        orders = [one for one in found.values() if one.has_a_call]
        portfolios = _portfolios.of(one.portfolio_name for one in orders)
        instruments = _instruments.of(one.posted.ticket["symbol"] for one in orders)
        for one in orders:
            one.portfolio = portfolios.get(one.portfolio_name)
            one.instrument = instruments.get(one.posted.ticket["symbol"])
            if one.portfolio is not None and one.instrument is not None:
                one.wish = _wish(one, one.portfolio.row, one.instrument.row)

    def _decide(self, orders: Sequence[Order]) -> None:
        """Those of each account together."""
        accounts: dict[int, list[Order]] = {}
        for one in orders:
            if one.wish is not None:
                accounts.setdefault(one.wish.portfolio.account_id, []).append(one)
        for together in accounts.values():
            door = _Door(together)
            try:
                decided = tickets_decide(door.wishes, door)
            except Exception as error:  # nothing was committed, or nobody knows: the long way asks again
                logger.warning("%d orders go the long way: %s", len(together), type(error).__name__)
                continue
            for one, found in zip(together, decided, strict=True):
                if isinstance(found, Decided) and found.judged is not None:  # a copy is for the long way
                    one.answer = door.answers[found.intent.pk]


def _wish(order: Order, portfolio: Portfolio, instrument: Instrument) -> Ask | None:
    posted, now = order.posted, venue_now(portfolio.account.feed)
    try:
        return ticket_ask(
            portfolio=portfolio, **wanted(order.key.row.owner, posted.ticket, instrument, posted.key, now=now)
        )
    except TradingError:
        return None  # the long way says why


def _told(order: Order | None) -> Answered:
    if order is None:
        return Answered()
    if order.answer is None:
        return Answered(order.counted)
    return Answered(order.counted, order.answer.status, order.answer.body())


class _Door:
    """Lets in who is as he is kept and asks for the first time, and writes down what each is answered."""

    def __init__(self, orders: Sequence[Order]) -> None:
        self._orders = {id(one.wish): one for one in orders}
        self.wishes = [one.wish for one in orders if one.wish is not None]
        self.answers: dict[UUID, Kept] = {}
        """By intent; those of a transaction that was undone are of intents that nobody will hear of."""

    def ask(self, asks: Sequence[Ask]) -> Callable[[], list[bool]]:
        orders = [self._orders[id(one)] for one in asks]
        rows = ask(STILL, {"wishes": json.dumps([_as_row(place, one) for place, one in enumerate(orders)])})

        def let_in() -> list[bool]:
            welcome = []
            for one, still in zip(orders, rows(), strict=True):
                welcome.append(all(still) and one.has_a_call)
                if not all(still[:3]):
                    one.forget()
            return welcome

        return let_in

    def errands(self, asks: Sequence[Ask]) -> list[Errand]:
        return _counting([self._orders[id(one)] for one in asks])

    def write(self, decided: Sequence[tuple[Ask, Decided]]) -> None:
        answers = []
        for wish, one in decided:
            order, kept = self._orders[id(wish)], Kept.of(one)
            self.answers[one.intent.pk] = kept
            answers.append(Answer(order.key.row.owner_id, order.posted.key, order.posted.asked, kept.status, kept.kept))
        keep_answers(answers, now=timezone.now())


def _as_row(place: int, order: Order) -> dict[str, Any]:
    assert order.portfolio is not None
    assert order.instrument is not None
    return {
        "place": place, "owner": order.key.row.owner_id, "name": order.posted.key, "api_key": order.key.row.pk,
        "as_key": order.key.version, "portfolio": order.portfolio.row.pk,
        "named": order.posted.ticket.get("portfolio") is not None, "as_portfolio": order.portfolio.version,
        "instrument": order.instrument.row.pk, "as_instrument": order.instrument.version,
    }  # fmt: skip
