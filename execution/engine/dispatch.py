"""Who brings the orders of an account to the wire: whatever waits is claimed together, sent side by side, and what the
broker said is written down together.

A few threads, the hands. Each takes what is most urgent when it is free: orders that have been claimed, outcomes that
nobody has written down yet, a cancel or a change, orders that wait. Only one claims and one records at a time; what
comes meanwhile is taken together by the next. Where the gateway can, a hand puts several on the wire at once, and what
it has claimed goes out with it. One order alone goes through one thread, without a hop.
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from uuid import UUID

from django.db import connection

from accounts.selectors import needs_login
from execution.brokers.port import BrokerGateway, CallClass, SendsTogether
from execution.services.order_claim import Claimed, claims_prepare, class_of, orders_claim, orders_claim_in_turn
from execution.services.order_hand import is_late
from execution.services.order_submit import Outcome, PriceOf, orders_place, outcomes_record
from risk.order_rate import RATES, take_turns
from trading.domain.newest_first import NewestFirst
from trading.domain.orders import Reason
from trading.statements import run

HANDS = 3
"""Each holds a connection to the database as well as one to the broker, and a process has a bounded number of both."""
TOGETHER = 8
"""Orders that one hand has on the wire at once: each has a line of its own there."""
ERRANDS_AT_ONCE = 2  # cancels and changes wait for their turn on the line: they never hold every hand

STILL_QUEUED = f"""
SELECT id, reason FROM execution_order o WHERE id = ANY(%s) AND state = 'QUEUED' AND NOT {needs_login("o.account_id")}
ORDER BY reason = '{Reason.ENTRY}', id
"""  # noqa: S608 - made of constants
"""They take no turn while nothing may leave: the sweep gives them again."""

Work = Callable[[], object]


class Dispatch:
    """The senders of one account under one lease (`fence`). `guarded` runs a piece of work and survives its errors;
    `paced`: orders wait here for their turn in the account's rate. `writing` is held while outcomes are written."""

    def __init__(
        self, *, account_id: int, gateway: BrokerGateway, fence: int, price_of: PriceOf,
        guarded: Callable[[Work], None], paced: bool = True, hands: int = HANDS,
        writing: AbstractContextManager[object] | None = None,
        on_recorded: Callable[[Iterable[UUID]], None] = lambda tokens: None,
        on_late: Callable[[Iterable[UUID]], None] = lambda tokens: None,
    ) -> None:  # fmt: skip
        self._account_id, self._gateway, self._fence = account_id, gateway, fence
        self._price_of, self._guarded, self._paced = price_of, guarded, paced
        self._together = TOGETHER if isinstance(gateway, SendsTogether) else 1
        self._writing = writing or threading.Lock()
        self._on_recorded, self._on_late = on_recorded, on_late
        self._ready = NewestFirst()
        self._known: set[int] = set()  # given, and neither claimed nor withdrawn yet
        self._waiting: dict[int, CallClass | None] = {}  # their class, where it is known already
        self._turns: list[tuple[float, int, CallClass]] = []  # (when its turn comes, order): a heap
        self._claimed: deque[Claimed] = deque()
        self._handed: deque[Claimed] = deque()  # claimed by others
        self._errands: dict[int, Work] = {}
        self._outcomes: list[Outcome] = []
        self._idle = self._errands_out = 0
        self._claiming = self._recording = self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"send-{account_id}_{number}", daemon=True)
            for number in range(hands)
        ]
        for thread in self._threads:
            thread.start()

    def give(self, order_ids: Iterable[int], klass: CallClass | None = None) -> bool:
        """Let queued orders be sent, unless they are under way already; `klass` is what all of them are, where that is
        known. False: nobody sends here any more."""
        with self._ready:
            if self._closed:
                return False
            new = [order_id for order_id in order_ids if order_id not in self._known]
            if new:
                self._known.update(new)
                self._waiting.update(dict.fromkeys(new, klass))
                if not self._claiming:  # who claims looks for more when it is done
                    self._ready.notify()
        return True

    def put(self, claims: Sequence[Claimed]) -> bool:
        """Send what others have claimed, with its place in the rate: after all that is claimed here, so that ways out
        come first, and at once or not at all. What no hand was free for is given to `on_late`. False: nobody sends here
        any more."""
        with self._ready:
            if self._closed:
                return False
            self._handed.extend(claims)
            self._ready.notify(len(claims))
        return True

    def do(self, about: int, errand: Work) -> None:
        """Another call to the broker, by one of the same hands; asked for again before it began, it is made once."""
        with self._ready:
            if not self._closed and about not in self._errands:
                self._errands[about] = errand
                self._ready.notify()

    def close(self) -> None:
        """Nothing more is claimed; what was claimed is sent, and what was said is written down, before this returns."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    # -- a hand ------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        self._guarded(partial(claims_prepare, self._account_id))
        while (work := self._next()) is not None:
            self._guarded(work)
        connection.close()

    def _next(self) -> Work | None:
        """What is most urgent, waited for; None when there will be nothing more."""
        with self._ready:
            while True:
                if self._claimed:
                    return partial(self._place, self._next_of(self._claimed))
                if self._outcomes and not self._recording:
                    self._recording = True
                    outcomes, self._outcomes = self._outcomes, []
                    return partial(self._record, outcomes)
                if self._closed:
                    if self._handed:
                        return partial(self._place_handed, self._next_of(self._handed))
                    if not (self._claiming or self._recording):
                        return None
                elif self._errands and self._errands_out < ERRANDS_AT_ONCE:
                    self._errands_out += 1
                    return partial(self._run, self._errands.pop(next(iter(self._errands))))
                elif not self._claiming and self._may_claim():
                    self._claiming = True
                    return self._claim
                elif self._handed:
                    return partial(self._place_handed, self._next_of(self._handed))
                self._idle += 1
                self._ready.wait(self._until_a_turn())
                self._idle -= 1

    def _next_of(self, claimed: deque[Claimed]) -> list[Claimed]:
        """As many of one class as a hand may have out."""
        taken = [claimed.popleft()]
        while claimed and len(taken) < self._together and claimed[0].klass == taken[0].klass:
            taken.append(claimed.popleft())
        return taken

    def _may_claim(self) -> bool:
        if self._turns and self._turns[0][0] <= time.monotonic():
            return True
        taken = self._classes_with_turns()
        return any(klass not in taken for klass in self._waiting.values())

    def _classes_with_turns(self) -> set[CallClass]:
        """An order takes its turn only when those before it have had theirs: places of the future are for nobody."""
        return {klass for _, _, klass in self._turns}

    def _until_a_turn(self) -> float | None:
        return max(0.0, self._turns[0][0] - time.monotonic()) if self._turns and not self._claiming else None

    def _claim(self) -> None:
        """Claim what may leave now: of one class, and no more than free hands can send at once, this one among them."""
        claimed: list[Claimed] = []
        taken: list[int] = []
        try:
            with self._ready:
                free = max(self._idle + 1, self._together)
                taken += self._whose_turn_has_come(free)
                asked = list(self._waiting)
                klass, first = (None, []) if taken else self._first_of_a_class(free)
            found = None
            if klass is not None:
                found = orders_claim_in_turn(
                    account_id=self._account_id, klass=klass, order_ids=first, fence=self._fence
                )  # fmt: skip
            if found is not None:
                claimed, taken = found, first
            else:
                if asked and not taken:
                    taken += self._take_turns(asked, free)
                if taken:
                    claimed = orders_claim(order_ids=taken, fence=self._fence)
        except BaseException:
            with self._ready:  # the sweep gives them again
                self._known.difference_update(self._waiting)
                self._waiting.clear()
            raise
        finally:
            with self._ready:
                self._claiming = False
                self._known.difference_update(taken)
                for order_id in taken:
                    self._waiting.pop(order_id, None)
                self._claimed.extend(claimed)
                if self._closed:
                    self._ready.notify_all()
                else:
                    self._ready.notify(self._hands_needed())

    def _hands_needed(self) -> int:
        """Beside the one that asks, which takes as much of what was claimed as it may have out."""
        others = max(0, len(self._claimed) - 1) // self._together
        return others + bool(self._waiting or self._turns or self._errands or self._outcomes or self._handed)

    def _whose_turn_has_come(self, most: int) -> list[int]:
        """Orders that have waited for their turn long enough: ways out, else entries."""
        wall = time.monotonic()
        come = [turn for turn in self._turns if turn[0] <= wall]
        ways_out = [turn for turn in come if turn[2] == CallClass.EXIT]
        taken = sorted(ways_out or come)[:most]
        if taken:
            self._turns = [turn for turn in self._turns if turn not in taken]
            heapq.heapify(self._turns)
        return [order_id for _, order_id, _ in taken]

    def _first_of_a_class(self, most: int) -> tuple[CallClass | None, list[int]]:
        """Who may be claimed with their turn in one trip: ways out, else entries, where the class of all is known and
        none of it waits for its turn already."""
        if self._paced and None not in self._waiting.values():
            having_turns = self._classes_with_turns()
            for klass in (CallClass.EXIT, CallClass.ORDER):
                mine = [order_id for order_id, its in self._waiting.items() if its == klass]
                if mine and klass not in having_turns:
                    return klass, mine[: min(most, int(RATES[klass][1]))]
        return None, []

    def _take_turns(self, asked: list[int], most: int) -> list[int]:
        """Of the orders that wait those that may leave now, ways out first; some others have their turn from now on."""
        found = [(order_id, class_of(reason)) for order_id, reason in run(STILL_QUEUED, [asked])]
        still = dict(found)
        now: list[int] = []
        later: list[tuple[float, int, CallClass]] = []
        if self._paced:
            having_turns = self._classes_with_turns()
            for klass in (CallClass.EXIT, CallClass.ORDER):
                if klass in having_turns:
                    continue
                mine = [order_id for order_id, its in found if its == klass][: min(most, int(RATES[klass][1]))]
                if mine:
                    waits, wall = take_turns(self._account_id, klass, len(mine)), time.monotonic()
                    now += [one for one, wait_s in zip(mine, waits, strict=True) if not wait_s]
                    later += [(wall + wait_s, one, klass) for one, wait_s in zip(mine, waits, strict=True) if wait_s]
        else:
            now = [order_id for order_id, _ in found]
        of_first = [one for one in now if still[one] == still[now[0]]]
        chosen = of_first[:most]
        if self._paced:  # their turn has come: they are the next
            later += [(0.0, one, still[one]) for one in now if one not in chosen]
        now = chosen
        with self._ready:
            for order_id in asked:
                if order_id not in still:
                    self._waiting.pop(order_id, None)
                    self._known.discard(order_id)
                elif order_id in self._waiting:
                    self._waiting[order_id] = still[order_id]
            for order_id in now:
                self._waiting.pop(order_id, None)
            for turn in later:
                self._waiting.pop(turn[1], None)
                heapq.heappush(self._turns, turn)
        return now

    def _place_handed(self, handed: list[Claimed]) -> None:
        """Since they were claimed nobody has looked at the kill switch, and their places in the rate were for then."""
        late = [one for one in handed if is_late(one)]
        if late:
            self._on_late(one.token for one in late)
        if in_time := [one for one in handed if one not in late]:
            self._place(in_time)

    def _place(self, claimed: list[Claimed]) -> None:
        out = len(claimed)
        for outcomes in orders_place(claimed, gateway=self._gateway, paced=self._paced, price_of=self._price_of):
            out -= len(outcomes)
            with self._ready:
                self._outcomes += outcomes
                if out and not self._recording:  # another hand writes them down: this one waits for the rest
                    self._ready.notify()

    def _record(self, outcomes: list[Outcome]) -> None:
        try:
            with self._writing:
                outcomes_record(outcomes)
            self._on_recorded(one.token for one in outcomes)
        finally:
            with self._ready:
                self._recording = False
                if self._closed:
                    self._ready.notify_all()

    def _run(self, errand: Work) -> None:
        try:
            errand()
        finally:
            with self._ready:
                self._errands_out -= 1
