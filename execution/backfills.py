"""Whose broker a backfill asks, and the worker's hour with it."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from datetime import date, datetime

from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.errors import BrokerError
from execution.brokers.registry import AuthState, gateway_of, sign_in
from execution.brokers.sources import BrokerHistory
from risk.order_rate import wait_for_turn
from trading.audit.record import record
from trading.domain.errors import NotAllowed, NotFound
from trading.marketdata.clocks import venue_now
from trading.marketdata.fetching.backfill import BELL, BackfillRefused, backfill_claim, backfill_create, backfill_work
from trading.marketdata.listing.universes import members
from trading.marketdata.models import Backfill, Feed, Instrument, Universe
from trading.outbox import after_commit
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)
State = Backfill.State
_ending = threading.Event()  # this process was told to stop


def let_go() -> None:
    """Take nothing more, and give back what is held after its next call."""
    _ending.set()


def backfill_ask(
    *, user: object, account: BrokerAccount, symbols: list[str], universe: str, timeframe: int, from_date: date,
    to_date: date,
) -> Backfill:  # fmt: skip
    """Ask for the past of symbols, or of a universe's members, from the broker of an account.

    Errors: NotFound UNKNOWN_INSTRUMENT, UNKNOWN_UNIVERSE, NO_FEED; NotAllowed FEED_OF_A_REPLAY; BackfillRefused.
    """
    feed = Feed.objects.filter(name=account.feed).first()
    if feed is None:
        raise NotFound("NO_FEED", f"{account.name} has no feed yet: start its engine once.")
    if feed.kind == Feed.Kind.REPLAY:
        raise NotAllowed("FEED_OF_A_REPLAY", "A replayed day has the candles it is made of.")
    if bool(symbols) == bool(universe):
        raise BackfillRefused("NOTHING_TO_FETCH", "Name either symbols or a universe.")
    row = backfill_create(
        owner=user, feed=feed, account_id=account.pk, timeframe=timeframe, from_date=from_date, to_date=to_date,
        instruments=_named(symbols) if symbols else _of(universe, exchange_date(venue_now(feed.name))),
        wall=timezone.now(),
    )  # fmt: skip
    record(
        "backfill.asked", actor=str(user), subject=str(row.pk), owner_id=account.owner_id, title=row.title,
        feed=feed.name, account=account.pk,
    )  # fmt: skip
    return row


def _named(symbols: list[str]) -> list[Instrument]:
    found = {one.symbol: one for one in Instrument.objects.filter(symbol__in=symbols)}
    if unknown := [name for name in symbols if name not in found]:
        raise NotFound("UNKNOWN_INSTRUMENT", f"There is no instrument {', '.join(unknown[:5])}.")
    return list(found.values())


def _of(universe: str, day: date) -> list[Instrument]:
    row = Universe.objects.filter(name=universe).first()
    if row is None:
        raise NotFound("UNKNOWN_UNIVERSE", f"There is no universe {universe}.")
    return members(row, day)


def work_on_backfills(
    *, most_s: float = 120, backfill_id: uuid.UUID | None = None, told: Callable[[Backfill], None] = lambda _: None
) -> int:
    """Work on what waits until nothing does or the time is over; how many were brought to an end."""
    began, ended = time.monotonic(), 0
    while not _ending.is_set():
        backfill = backfill_claim(holder=uuid.uuid4(), wall=timezone.now(), backfill_id=backfill_id)
        if backfill is None:
            return ended
        state = _work_on(backfill, told, lambda: not _ending.is_set() and time.monotonic() - began < most_s)
        if state == State.QUEUED:
            if not _ending.is_set():
                after_commit(BELL)  # there is more: let others have a turn in between
            return ended
        ended += 1
    return ended


def _work_on(backfill: Backfill, told: Callable[[Backfill], None], goes_on: Callable[[], bool]) -> str:
    account = BrokerAccount.objects.filter(pk=backfill.account_id).first()
    if account is None:
        return _fail(backfill, "the account is gone")
    try:
        if account.auth_state != AuthState.AUTHENTICATED:
            account = sign_in(account)
        gateway = gateway_of(account)
    except BrokerError as error:
        return _fail(backfill, f"{error.code}: {error.message}")
    try:
        history = BrokerHistory(gateway, before_call=lambda: wait_for_turn(account.pk, "history"), patient=True)
        return backfill_work(
            backfill, history, now=venue_now(backfill.feed.name), wall=timezone.now, goes_on=goes_on, told=told
        )
    finally:
        gateway.close()


def _fail(backfill: Backfill, why: str) -> str:
    wall: datetime = timezone.now()
    logger.warning("backfill %s cannot be worked on: %s", backfill.pk, why)
    Backfill.objects.filter(pk=backfill.pk, holder=backfill.holder, state=State.RUNNING).update(
        state=State.FAILED, error=why[:400], finished_at=wall, holder=None, leased_until=None
    )
    return State.FAILED
