"""One round of decisions about signals of a portfolio: what all of them see is read once, and what becomes of them is
written once, however many they are.

A round holds the lock of the pool, so that nobody else begins a trade of the portfolio or touches its queue before the
round is committed. It is over with the first signal that asks something of the market: what was asked goes out at once.
"""

import json
from collections.abc import Collection
from datetime import datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from django.utils import timezone

from execution.engine_settings import settings_asked
from execution.kill_scopes import strategy_of
from execution.models import EngineSettings, Group, QueuedSignal
from execution.outstanding import Outstanding, outstanding, ready_asked
from execution.services.intent_create import Ask, Assessed, assessed, refusals_write
from execution.services.intent_judge import Wish
from execution.services.slot_reserve import Room, slots_asked
from risk.snapshot import Question, Standing, Standings, standing_of
from strategies.models import Deployment, Signal
from trading.domain.clock import IST
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import Side
from trading.marketdata.models import Instrument
from trading.monitoring.slots import take_slot
from trading.outbox import after_commit
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish
from trading.statements import Frozen, Select, ask, run, tell, together

State = QueuedSignal.State
Cause = QueuedSignal.Cause
Key = tuple[int, str]  # instrument and side
MASTERS_AGAIN_S = 600.0
"""Wall seconds between two readings of the masters for the sake of signals that wait for them."""

LIVE = Select(
    Group, "ladder", "signal",
    where="WHERE t.portfolio_id = %(portfolio)s AND t.instrument_id = ANY(%(instruments)s) AND t.state <> 'CLOSED'"
    " ORDER BY t.created_at",
)  # fmt: skip
WAITING = Select(
    QueuedSignal, where="WHERE t.portfolio_id = %(portfolio)s AND t.instrument_id = ANY(%(instruments)s)"
    " AND t.state = 'WAITING'",
)  # fmt: skip
AT_WORK = Frozen(lambda deployment: Deployment.objects.at_work().filter(pk=deployment).values_list("pk"))
HOW_MANY = "SELECT count(*) FROM execution_queuedsignal WHERE portfolio_id = %(portfolio)s AND state = 'WAITING'"
IS_EXCHANGE = "SELECT 1 FROM marketdata_feed WHERE name = %s AND kind = 'EXCHANGE'"
END = """
UPDATE execution_queuedsignal q SET state = told.state, said = told.said, rank = NULL, ended_at = %(at)s
FROM jsonb_to_recordset(%(rows)s::jsonb) AS told (id bigint, state text, said text)
WHERE q.id = told.id AND q.state = 'WAITING'
"""
DECIDE = """
UPDATE strategies_signal s SET state = told.state, refusal_code = told.code, refusal = told.message
FROM jsonb_to_recordset(%(rows)s::jsonb) AS told (id uuid, state text, code text, message text)
WHERE s.id = told.id AND s.state IN ('NEW', 'QUEUED')
"""


class Round:
    """What the signals of a portfolio meet, and what becomes of them. Lives inside one transaction."""

    def __init__(
        self, portfolio: Portfolio, instruments: Collection[int],
        first: Signal | None = None, now: datetime | None = None,
    ) -> None:  # fmt: skip
        """`instruments`: those that the round's signals are about. `first` comes first, at `now` in venue time: what a
        contract's entry goes by is asked with all else.
        """
        self.portfolio, self.wall = portfolio, timezone.now()
        about = {"portfolio": portfolio.pk, "instruments": list(instruments)}
        with together():  # each is asked once the lock is held, and sees what others committed before
            self._rooms = slots_asked([portfolio.pk])
            live, waiting = LIVE.ask(about), WAITING.ask(about)
            many = ask(HOW_MANY, {"portfolio": portfolio.pk})
            self._settings, self._ready = settings_asked(portfolio.pk), ready_asked(portfolio.account_id)
            self._first = None
            if first is not None and now is not None and _is_a_contracts(first):
                self._first = _OfAContract(portfolio, first, now)
        self._groups = live()
        self.waiting: dict[Key, QueuedSignal] = {(one.instrument_id, one.side): one for one in waiting()}
        ((self._many_wait,),) = many()
        self._entering: dict[Key, QueuedSignal] = {}
        self._ended: list[tuple[QueuedSignal, str, str]] = []
        self._fates: dict[UUID, tuple[str, str, str]] = {}
        self._refused: list[Assessed] = []
        self._stands: dict[int, Standing] = {}
        self._works: dict[Key, Outstanding] = {}
        self._stale: dict[int, bool] = {}

    # -- what is seen ------------------------------------------------------------------------------------------------

    @cached_property
    def room(self) -> Room:
        return self._rooms()[self.portfolio.pk]

    @cached_property
    def settings(self) -> EngineSettings:
        return self._settings()

    @cached_property
    def ready(self) -> bool:
        return self._ready()[0]

    def live(self, instrument_id: int, sides: Collection[str] = tuple(Side)) -> list[Group]:
        """Trades that are not closed."""
        return [
            one for one in self._groups
            if one.instrument_id == instrument_id and one.side in sides and one.state != Group.State.CLOSED
        ]  # fmt: skip

    def of_a_contract(self, signal: Signal, now: datetime) -> "_OfAContract":
        """What decides about an entry of a contract beside the round's own knowledge."""
        if self._first is not None and self._first.signal is signal:
            return self._first
        with together():
            return _OfAContract(self.portfolio, signal, now)

    def standing(self, instrument: Instrument, now: datetime) -> Standing:
        """How the portfolio stands, for signals that are nobody's contract."""
        if instrument.pk not in self._stands:
            self._stands[instrument.pk] = standing_of(self.portfolio, instrument, now=now)
        return self._stands[instrument.pk]

    def assess(self, wish: Wish, now: datetime) -> Assessed:
        """What risk says to an entry that is no contract's; nothing is stored, and no room taken."""
        key = wish.instrument.pk, wish.side.value
        if key not in self._works:
            self._works[key] = outstanding(
                self.portfolio, wish.instrument, wish.side, opens=True, contract_id=None
            )()  # fmt: skip
        stands = self.standing(wish.instrument, now)
        return assessed(Ask(self.portfolio, wish, now), standing=stands, under_way=self._works[key])

    def metadata_is_stale(self, instrument: Instrument, now: datetime) -> bool:
        """Whether tick and lot are older than may be trusted. The sandbox's own are as old as the sandbox."""
        if instrument.pk not in self._stale:
            self._stale[instrument.pk] = self._is_exchange and self._is_old(instrument, now)
        return self._stale[instrument.pk]

    @cached_property
    def _is_exchange(self) -> bool:
        return bool(run(IS_EXCHANGE, [self.portfolio.account.feed]))

    def ask_for_masters(self) -> None:
        """Somebody waits for tick and lot: have the masters read again, at intervals, until they are known."""
        if take_slot("masters_for_signals", every_s=MASTERS_AGAIN_S):
            after_commit("execution.refresh_instruments", forced=True, actor="a signal that waits")

    def _is_old(self, instrument: Instrument, now: datetime) -> bool:
        if instrument.master_date is None:
            return True
        known_since = datetime.combine(instrument.master_date, time(8), tzinfo=IST)
        return now - known_since > timedelta(hours=self.settings.metadata_max_age_h)

    # -- what becomes of them ----------------------------------------------------------------------------------------

    def decide(self, signal: Signal, state: str, code: str = "", message: str = "") -> Signal:
        """The fate of a signal that the round holds."""
        signal.state, signal.refusal_code, signal.refusal = state, code[:40], message[:240]
        self._fates[signal.pk] = signal.state, signal.refusal_code, signal.refusal
        return signal

    def refuse(self, signal: Signal, said: Assessed) -> Signal:
        """Risk says no: its verdicts are kept, and nothing of a trade is."""
        self._refused.append(said)
        return self.decide(signal, Signal.State.REFUSED, said.verdict.code, said.verdict.message)  # type: ignore[union-attr]

    def wait(self, signal: Signal, cause: str) -> Signal:
        """Into the queue, in the place of an older one of its side. What waits there already stays where it is; for
        another cause, its time begins anew."""
        if signal.state == Signal.State.QUEUED:
            here = QueuedSignal.objects.filter(signal=signal, state=State.WAITING).exclude(cause=cause)
            here.update(cause=cause, expires_at=self._waits_until(signal, cause))
            return signal
        if cause == Cause.METADATA_STALE:
            self.ask_for_masters()
        key = signal.instrument_id, str(signal.side)
        before = self.waiting.get(key)
        if before is None and self._many_wait >= self.settings.queue_size:
            said = f"{self.settings.queue_size} signals wait already."
            return self.decide(signal, Signal.State.REFUSED, "QUEUE_FULL", said)
        if before is not None:
            self.end(before, State.REPLACED, "A newer signal took its place.")
        queued = QueuedSignal(
            portfolio_id=self.portfolio.pk, instrument_id=signal.instrument_id, side=signal.side, signal=signal,
            entry_price=signal.entry, expected_profit_pct=expected_profit_pct(signal), cause=cause,
            replacement_count=before.replacement_count + 1 if before else 0,
            enqueued_at=before.enqueued_at if before else self.wall, expires_at=self._waits_until(signal, cause),
        )  # fmt: skip
        self.waiting[key] = self._entering[key] = queued
        self._many_wait += 1
        return self.decide(signal, Signal.State.QUEUED)

    def wait_for(self, queued: QueuedSignal, cause: str) -> None:
        """What it waits for has changed since it came: a slot is free by now, and its instrument is not flat. Its time
        goes on."""
        if queued.cause != cause and QueuedSignal.objects.filter(pk=queued.pk, state=State.WAITING).update(cause=cause):
            queued.cause = cause
            publish(self.portfolio.owner_id, "signal", signal=str(queued.signal_id), queue=queued.pk)

    def end(self, queued: QueuedSignal, state: str, said: str, *, code: str = "") -> None:
        """A wait is over, and its signal with it unless that was decided in this round."""
        key = queued.instrument_id, str(queued.side)
        if self.waiting.get(key) is queued:
            del self.waiting[key]
            self._many_wait -= 1
        if self._entering.get(key) is queued:
            del self._entering[key]  # it came and went within the round: its signal tells
        else:
            self._ended.append((queued, str(state), said[:240]))
        if self._fates.get(queued.signal_id, (Signal.State.QUEUED,))[0] == Signal.State.QUEUED:
            if state == State.PROMOTED:
                return
            over = Signal.State.EXPIRED if state == State.EXPIRED else Signal.State.REFUSED
            self._fates[queued.signal_id] = str(over), (code or f"QUEUE_{state}")[:40], said[:240]

    def _waits_until(self, signal: Signal, cause: str) -> datetime:
        """How long a signal may wait from now on. What waits for a slot or a flat instrument may as long as the
        settings say; what only we keep waiting, and a contract's entry, which belongs to its bar, for its own time."""
        until = self.wall + timedelta(seconds=self.settings.queue_ttl_s)
        ours = signal.source == Signal.Source.CONTRACT or cause == Cause.ENGINE_NOT_READY
        return min(until, signal.expires_at) if ours else until

    def write(self) -> None:
        """All that was decided, in the running transaction, and the bells and pages that hear of it."""
        with together():
            if self._ended:
                rows = [{"id": one.pk, "state": state, "said": said} for one, state, said in self._ended]
                tell(END, {"rows": json.dumps(rows), "at": timezone.now()})
            if self._fates:
                tell(DECIDE, {"rows": json.dumps(self._told(), default=str)})
            refusals_write(self._refused)
        crashpoint("intake.fates_written")
        if self._entering:
            QueuedSignal.objects.bulk_create(self._entering.values())
            after_commit("engine.queue", account_id=self.portfolio.account_id, portfolio_id=self.portfolio.pk)
        self._publish()
        self._entering, self._ended, self._fates, self._refused = {}, [], {}, []

    def _told(self) -> list[dict[str, Any]]:
        return [
            {"id": pk, "state": state, "code": code, "message": message}
            for pk, (state, code, message) in self._fates.items()
        ]

    def _publish(self) -> None:
        owner_id = self.portfolio.owner_id
        if len(self._fates) == 1:
            ((pk, (state, *_)),) = self._fates.items()
            publish(owner_id, "signal", signal=str(pk), state=state)
        elif self._fates or self._ended:
            publish(owner_id, "signal", portfolio=self.portfolio.pk, decided=len(self._fates))


def _is_a_contracts(signal: Signal) -> bool:
    return signal.kind == Signal.Kind.ENTRY and signal.source == Signal.Source.CONTRACT


class _OfAContract:
    """Whether its deployment is at work, and how the portfolio stands by the limits of its strategy: asked when made,
    read when needed."""

    def __init__(self, portfolio: Portfolio, signal: Signal, now: datetime) -> None:
        assert signal.deployment is not None
        self.signal = signal
        self._at_work = AT_WORK.ask(signal.deployment.pk)
        self._standings = Standings([Question(portfolio, signal.instrument, now, strategy_of(signal))])

    @cached_property
    def is_at_work(self) -> bool:
        return bool(self._at_work())

    @cached_property
    def standing(self) -> Standing:
        return self._standings.of(0)


def expected_profit_pct(signal: Signal) -> Decimal:
    """What the signal's own target would gain, percent of its entry; 0 without one."""
    if signal.target is None or not signal.entry:
        return Decimal(0)
    gain = (signal.target - signal.entry) * Side(signal.side).sign * 100 / signal.entry
    return max(Decimal(-9999), min(Decimal(9999), gain))
