"""Wishes become intents: asked of every gate, their room reserved, their orders written, all in one transaction.

One wish or several of one account: facts are read once, the gates asked of one wish after the other, each seeing the
room that those before it took, and the rows written by one statement each.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Protocol
from uuid import UUID, uuid4

from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone
from prometheus_client import Counter

from execution.kill_scopes import strategy_of
from execution.models import Group, Intent, Order
from execution.outstanding import Outstanding, outstanding, outstanding_entries
from execution.services.intent_judge import Wish, contract_of, seen
from execution.services.order_queue import Allowed, numbers_asked, orders_of, orders_queue
from execution.services.slot_reserve import Room, slots_asked
from risk.assess import ApprovedIntent, Judged, RefusedIntent, assess, store_verdicts
from risk.gates.finding import Finding, Outcome, Snapshot
from risk.policies import limits_in
from risk.reserve import Claim, Wanted, claims_of, reserve_all, take_all
from risk.snapshot import Question, Standing, Standings
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import Conflict, NotAllowed
from trading.domain.orders import OrderIntent, Side
from trading.marketdata.quotes import Quote, asking_quotes
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish
from trading.statements import Select, as_json, from_json, in_a_transaction, new_row, tell, together
from trading.trips import Texts, Trip, array_of
from trading.valkey import Errand, on_errands

APPROVAL_S = 120
APART = Counter("tarazu_orders_decided_apart_total", "Orders that came together and had to be decided one by one")
KNOWN = Select(Intent, where="""
JOIN unnest(%(portfolios)s::bigint[], %(keys)b::text[]) AS w (portfolio, dedupe_key)
  ON t.portfolio_id = w.portfolio AND t.dedupe_key = w.dedupe_key
""")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    """A wish of a portfolio. `now` is venue time; `standing` is for who has just read it for the same instrument,
    `room` for who holds the lock of the pool."""

    portfolio: Portfolio
    wish: Wish
    now: datetime
    standing: Standing | None = None
    room: Room | None = None

    @property
    def name(self) -> tuple[int, str]:
        """What is the same for a repeat."""
        return self.portfolio.pk, self.wish.dedupe_key


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a wish. `judged` and `orders` are those that were written now: a repeat has none."""

    intent: Intent
    judged: Judged | None = None
    orders: list[Order] = field(default_factory=list)


def intent_create(
    *, portfolio: Portfolio, wish: Wish, now: datetime, standing: Standing | None = None, room: Room | None = None
) -> Intent:
    """The intent of a wish: approved with its order queued, refused with its reason, or waiting for a person.

    A repeat of the same wish returns the first intent. The same key for another wish is a Conflict.
    """
    (decided,) = intents_create([Ask(portfolio, wish, now, standing, room)])
    if isinstance(decided, Exception):
        raise decided
    return decided.intent


class Door(Protocol):
    """Where wishes come in that want more than their rows: it asks with the facts, and writes with the rows."""

    def ask(self, asks: Sequence[Ask]) -> Callable[[], list[bool]]:
        """Which of them may come in; read once all has been asked."""

    def errands(self, asks: Sequence[Ask]) -> Sequence[Errand]:
        """What it wants to know beside that."""

    def write(self, decided: Sequence[tuple[Ask, "Decided"]]) -> None:
        """What is to be true with the rows of those that were decided now, in their transaction; it waits for no
        answer."""


class NotLetIn(Exception):
    """The door did not let this wish in: nothing was decided about it."""


def intents_create(asks: Sequence[Ask], door: Door | None = None) -> list[Decided | Exception]:
    """The same for several wishes of one account, in their order: of each what became of it, or why nothing did.

    Several are entries of hands or programs: a signal, a leg or a part comes alone, in the transaction of its step.
    Where one of several breaks the transaction, or others took the room they saw, each is tried alone.
    """
    crashpoint("intake.asked")
    try:
        decided = _create(asks, door)
    except IntegrityError:
        # Somebody with the same key, or the same instrument, was faster by a moment.
        if len(asks) > 1:
            return _each_alone(asks, door)
        if door is not None:
            raise
        (one,) = asks
        known = _known(asks)()
        if not known:
            raise Conflict("ALREADY_POSITIONED", f"Another order for {one.wish.instrument} was faster.") from None
        return [_repeated(known[one.name], one.wish)]
    except Exception:
        if len(asks) > 1:
            return _each_alone(asks, door)
        raise
    crashpoint("intake.committed")
    return decided


def _each_alone(asks: Sequence[Ask], door: Door | None) -> list[Decided | Exception]:
    APART.inc(len(asks))
    decided: list[Decided | Exception] = []
    for place, one in enumerate(asks):
        try:
            decided += intents_create([one], door)
        except OperationalError as error:  # the trouble is the database's: nobody else waits to see it again
            return [*decided, *[error] * (len(asks) - place)]
        except Exception as error:  # the caller of this one hears of it, and no other
            decided.append(error)
    return decided


def _known(asks: Sequence[Ask]) -> Callable[[], dict[tuple[int, str], Intent]]:
    rows = KNOWN.ask({
        "portfolios": array_of(one.portfolio.pk for one in asks), "keys": Texts(one.wish.dedupe_key for one in asks),
    })  # fmt: skip
    return lambda: {(one.portfolio_id, one.dedupe_key): one for one in rows()}


def _repeated(intent: Intent, wish: Wish) -> Decided | Conflict:
    """The first intent of the same wish; a Conflict where the wish is another."""
    same = (
        intent.instrument_id == wish.instrument.pk
        and intent.side == wish.side
        and intent.wanted_quantity == wish.quantity
        and intent.order_type == wish.order_type
        and intent.limit_price == wish.limit_price
        and intent.trigger_price == wish.trigger_price
        and intent.stop_price == wish.stop_price
        and intent.target_price == wish.target_price
        and intent.product == wish.product
    )
    return Decided(intent) if same else Conflict("IDEMPOTENCY_KEY_REUSED", "This key was used for another order.")


@dataclass(slots=True)
class Assessed:
    """What the gates say to one wish, all that they saw, and what it would take."""

    ask: Ask
    asked: OrderIntent
    snapshot: Snapshot
    standing: Standing
    verdict: ApprovedIntent | RefusedIntent
    claims: list[Claim] = field(default_factory=list)

    def refuse(self, code: str, message: str, value: object, limit: object) -> None:
        finding = Finding(code, Outcome.REJECT, 0, str(value), str(limit), message)
        self.verdict = RefusedIntent(self.verdict.intent_id, code, message, (*self.verdict.findings, finding))
        self.claims = []


def assessed(ask: Ask, *, standing: Standing, under_way: Outstanding) -> Assessed:
    """All gates about a wish, by what its caller has read; nothing is stored, and no room taken."""
    asked, snapshot = seen(ask.portfolio, ask.wish, standing, under_way)
    verdict = assess(
        intent_id=uuid4(), intent=asked, snapshot=snapshot, limits=limits_in(standing.policy.pk),
        kill_epoch=standing.kill.epoch,
    )  # fmt: skip
    found, doubt = Assessed(ask, asked, snapshot, standing, verdict), under_way.doubt
    if ask.wish.reason.opens and isinstance(verdict, ApprovedIntent) and doubt is not None:
        # Nothing is entered where the broker holds something else than we think.
        found.refuse("QUARANTINED", f"In quarantine: {doubt.both_sides}.", doubt.theirs, doubt.ours)
    return found


def refusals_write(refused: Sequence[Assessed]) -> None:
    """Keep intents that risk refused, each with what every gate said. Inside `together`: one round trip for all."""
    if refused:
        _write_rows([], [_intent(one) for one in refused])
        store_verdicts([_judged(one) for one in refused])


def _create(asks: Sequence[Ask], door: Door | None) -> list[Decided | Exception]:
    try:
        return _created(asks, door, _write)
    except IntegrityError:  # the room that the gates saw, the instrument or the key is somebody else's by now
        if len(asks) > 1:
            raise
    return _created(asks, door, _write_in_what_room_is_left)


_Writing = Callable[[Sequence[Assessed], Sequence[int], Door | None, bool], list[Decided]]
"""The last says whether the transaction ends with what is written."""


def _created(asks: Sequence[Ask], door: Door | None, write: _Writing) -> list[Decided | Exception]:
    with ExitStack() as until_written:
        begun = in_a_transaction()
        if not begun:
            until_written.enter_context(transaction.atomic())
        prices: dict[str, Quote] = {}
        with together() as trip, on_errands(*_errands(asks, prices), *(door.errands(asks) if door else ())):
            if begun:  # within a step: its savepoint goes with the questions
                until_written.enter_context(transaction.atomic())
            bench = _Bench(asks, prices, trip, may_be_known=door is None)
            numbers = numbers_asked(len(asks))
            let_in = door.ask(asks) if door else lambda: [True] * len(asks)
            trip.leave()  # before what Valkey has said meanwhile is read
        return _decided(asks, bench, let_in, lambda found: write(found, numbers(), door, not begun))


def _errands(asks: Sequence[Ask], prices: dict[str, Quote]) -> list[Errand]:
    """Their prices, where nobody knows them."""
    if asks[0].standing is not None:
        return []
    symbols = list({one.wish.instrument.symbol for one in asks})
    return [asking_quotes(asks[0].portfolio.account.feed, symbols, prices.update)]


def _decided(
    asks: Sequence[Ask], bench: "_Bench", let_in: Callable[[], list[bool]],
    write: Callable[[Sequence[Assessed]], list[Decided]],
) -> list[Decided | Exception]:  # fmt: skip
    first: dict[tuple[int, str], Intent] = dict(bench.known())
    welcome = let_in()
    found: dict[int, Assessed] = {}
    for place, one in enumerate(asks):
        if welcome[place] and one.name not in first and one.name not in {other.ask.name for other in found.values()}:
            found[place] = bench.judge(place)
    written = write(list(found.values())) if found else []
    decided = dict(zip(found, written, strict=True))
    first |= {asks[place].name: one.intent for place, one in decided.items()}
    return [
        decided.get(place) or (_repeated(first[one.name], one.wish) if one.name in first else NotLetIn())
        for place, one in enumerate(asks)
    ]


class _Bench:
    """Where wishes of one account are judged one after the other: asked together, read as each has its turn."""

    def __init__(self, asks: Sequence[Ask], prices: dict[str, Quote], trip: Trip, *, may_be_known: bool) -> None:
        """`prices` are on their way. `may_be_known`: nobody has looked yet whether one of them is a repeat. What is one
        all the same cannot be written."""
        self._asks = asks
        # The pools before all else that a trade's beginning locks: everybody takes them in this order.
        pools = {one.portfolio.pk for one in asks if _begins(one.wish) and one.room is None}
        self._rooms = slots_asked(pools) if pools else dict
        # A new signal is locked by who decides it, and its intent is stored with its fate: it has none yet.
        self.known = _known(asks) if may_be_known and asks[0].wish.signal is None else dict
        self._standings = None if asks[0].standing else Standings([
            Question(one.portfolio, one.wish.instrument, one.now, strategy_of(one.wish.signal)) for one in asks
        ], prices)  # fmt: skip
        trip.leave()  # the most of it: the database is at it while the rest is asked
        self._under_way = _under_way(asks)
        self._room_of: dict[int, Room] | None = None
        self._outstanding: list[Outstanding] | None = None
        self._begun: dict[int, int] = {}
        self._entering: dict[tuple[int, Side], int] = {}

    def judge(self, place: int) -> Assessed:
        """What the gates say to this wish, as things are after those before it."""
        one = self._asks[place]
        portfolio, wish = one.portfolio, one.wish
        standing = self._standings.of(place) if self._standings else one.standing
        assert standing is not None
        found = assessed(one, standing=standing, under_way=self._now_under_way(place, wish))
        crashpoint("risk.assessed")
        if isinstance(found.verdict, RefusedIntent) or not wish.reason.opens:
            return found
        if _begins(wish) and not wish.forced_by and (room := self._room(portfolio.pk)).free <= 0:
            # A first order takes a slot of the pool, whoever asks; a person may force one.
            found.refuse("POOL_FULL", f"All {room.most} slots of the pool are taken.", room.taken, room.most)
            return found
        found.claims = claims_of(
            replace(found.asked, quantity=found.verdict.quantity), found.snapshot, limits_in(standing.policy.pk),
            standing.keys, account_equity_paise=standing.account_equity_paise,
        )  # fmt: skip
        self._count(found, found.verdict.quantity)
        return found

    def _count(self, one: Assessed, quantity: int) -> None:
        """What is let in is there for those after it."""
        wish, portfolio_id = one.ask.wish, one.ask.portfolio.pk
        if self._standings:
            self._standings.took(one.claims)
        if _begins(wish):
            self._begun[portfolio_id] = self._begun.get(portfolio_id, 0) + 1
        if not wish.needs_approval:
            name = wish.instrument.pk, wish.side
            self._entering[name] = self._entering.get(name, 0) + quantity

    def _room(self, portfolio_id: int) -> Room:
        if self._room_of is None:
            self._room_of = {**self._rooms(), **{one.portfolio.pk: one.room for one in self._asks if one.room}}
        room = self._room_of[portfolio_id]
        return replace(room, taken=room.taken + self._begun.get(portfolio_id, 0))

    def _now_under_way(self, place: int, wish: Wish) -> Outstanding:
        if self._outstanding is None:
            self._outstanding = self._under_way()
        found = self._outstanding[place]
        against = self._entering.get((wish.instrument.pk, wish.side.opposite), 0)
        if not against:
            return found
        return replace(found, working=replace(found.working, opposite=found.working.opposite + against))


def _begins(wish: Wish) -> bool:
    return wish.reason.opens and wish.group is None


def _under_way(asks: Sequence[Ask]) -> Callable[[], list[Outstanding]]:
    if asks[0].wish.reason.opens:
        return outstanding_entries([
            (one.portfolio, one.wish.instrument, one.wish.side, contract_of(one.wish)) for one in asks
        ])  # fmt: skip
    exits = [
        outstanding(one.portfolio, one.wish.instrument, one.wish.side, opens=False, contract_id=None) for one in asks
    ]
    return lambda: [one() for one in exits]


def _write_in_what_room_is_left(
    found: Sequence[Assessed], numbers: Sequence[int], door: Door | None, commits: bool
) -> list[Decided]:
    """The same for one after whose gates others took the room: refused where there is none, with what is left of it."""
    (one,) = found
    try:
        reserve_all([_wanted(one)])
    except NotAllowed as full:
        one.refuse(full.code, full.message, full.numbers["wanted"], full.numbers["cap"])
    one.claims = []
    return _write(found, numbers, door, commits)


def _wanted(one: Assessed) -> Wanted:
    return Wanted(one.ask.portfolio.pk, one.verdict.intent_id, one.claims)


def _write(found: Sequence[Assessed], numbers: Sequence[int], door: Door | None, commits: bool) -> list[Decided]:
    """The room that the gates saw, the intents with their trades and the verdicts on them, and of approved ones the
    orders: one round trip. IntegrityError where the room is somebody else's by now: what the gates said is not true any
    more, and nothing of it is kept."""
    wanted = [_wanted(one) for one in found if one.claims]
    with together() as trip:
        if wanted:
            take_all(wanted)
            trip.leave()  # the database is at it while the rest is put into words
        intents = {one.verdict.intent_id: _intent(one) for one in found}
        _write_rows(
            [one.group for one in intents.values() if one.group is not None and one.group._state.adding],
            list(intents.values()),
        )
        orders = _orders_of(found, intents, numbers)
        judged = {one.verdict.intent_id: _judged(one) for one in found}
        store_verdicts(list(judged.values()))
        trip.leave()
        own: dict[UUID, list[Order]] = {}
        for order in orders:
            own.setdefault(order.intent_id, []).append(order)
        decided = [Decided(intent, judged[number], own.get(number, [])) for number, intent in intents.items()]
        if door:
            door.write([(one.ask, told) for one, told in zip(found, decided, strict=True)])
        # A claim locks the account's places in the rate, for which its ways out wait too: it leaves in one piece with
        # the commit, so that nobody waits for a process that stops between the two.
        written = orders_queue(orders, commits=commits) if orders else None
        for one in found:
            kind = "position" if one.ask.wish.signal is None else "signal"
            publish(one.ask.portfolio.owner_id, kind, intent=str(one.verdict.intent_id))
        if commits:
            trip.commit()
    if written:
        written()
    return decided


def _orders_of(found: Sequence[Assessed], intents: dict[UUID, Intent], numbers: Sequence[int]) -> list[Order]:
    """Those of what was approved and waits for nobody's yes."""
    allowed = [
        Allowed(intents[one.verdict.intent_id], one.verdict.kill_epoch, one.snapshot.last_price)
        for one in found
        if isinstance(one.verdict, ApprovedIntent)
        and intents[one.verdict.intent_id].state == Intent.State.APPROVED
    ]  # fmt: skip
    return orders_of(allowed, numbers=numbers)


def _write_rows(groups: Sequence[Group], intents: Sequence[Intent]) -> None:
    tell(_rows(), {"groups": as_json(*groups), "intents": as_json(*intents)})
    for row in (*groups, *intents):
        row._state.adding, row._state.db = False, connection.alias
    crashpoint("intake.intent_written")


def _judged(one: Assessed) -> Judged:
    policy = one.standing.policy
    return Judged(
        portfolio_id=one.ask.portfolio.pk, verdict=one.verdict, intent=one.asked,
        snapshot=one.snapshot, policy_id=policy.pk, policy=limits_in(policy.pk).name,
    )  # fmt: skip


def _intent(one: Assessed) -> Intent:
    portfolio, wish, verdict, wall = one.ask.portfolio, one.ask.wish, one.verdict, timezone.now()
    intent = new_row(
        Intent,
        id=verdict.intent_id,
        portfolio=portfolio,
        group=wish.group,
        signal=wish.signal,
        leg=wish.leg,
        part=wish.part,
        parent=wish.parent,
        source=wish.source,
        reason=wish.reason,
        dedupe_key=wish.dedupe_key,
        instrument=wish.instrument,
        product=wish.product,
        side=wish.side,
        order_type=wish.order_type,
        limit_price=wish.limit_price,
        trigger_price=wish.trigger_price,
        stop_price=wish.stop_price,
        target_price=wish.target_price,
        wanted_quantity=wish.quantity,
        allowed_quantity=0,
        actor=wish.actor,
        created_at=wall,
        venue_at=one.ask.now,
    )
    if isinstance(verdict, RefusedIntent):
        intent.state = Intent.State.REFUSED
        intent.refusal_code, intent.refusal = verdict.code[:40], verdict.message[:240]
        return intent
    intent.allowed_quantity = verdict.quantity
    if intent.group is None:
        intent.group = new_row(
            Group, portfolio=portfolio, instrument=wish.instrument, product=wish.product, side=wish.side,
            signal=wish.signal, stop_price=wish.stop_price, target_price=wish.target_price, created_at=wall,
        )  # fmt: skip
    intent.state = Intent.State.WAITING if wish.needs_approval else Intent.State.APPROVED
    if wish.needs_approval:
        intent.decide_by = wall + timedelta(seconds=APPROVAL_S)
    return intent


@cache
def _rows() -> str:
    """Trades and the intents that begin them."""
    return f"WITH begun AS ({from_json(Group, 'groups')}) {from_json(Intent, 'intents')}"
