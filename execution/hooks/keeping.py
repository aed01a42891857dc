"""What becomes of alerts, written down: the delivery that holds its key with its signals, in one statement and its
commit; copies and refusals in another.

The key is unique in the database, so that of many copies at the same moment, in whichever processes, one trades; the
others wait for its commit and are told what it was told. "Taken" promises that much: the signals are on the disk, whole
and checked, whether or not anybody is there to hear of them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import DataError, IntegrityError, transaction
from prometheus_client import Counter

from execution.hooks.arrival import Arrival, Reply, on_their_way, reply_to, step
from execution.hooks.masking import without_secrets
from execution.hooks.refusal import FieldError, Refused
from execution.hooks.signal_of import Draft, Surroundings, draft_signals
from execution.models import Delivery
from strategies.models import Signal
from trading.domain.crashpoint import crashpoint
from trading.outbox import after_commit
from trading.realtime.publish import Event, publish_aside
from trading.statements import Select, as_columns, as_json, from_json, run, tell

ALERTS = Counter("tarazu_hook_alerts_total", "Alerts that came in by hooks, by what became of them", ["outcome"])

Outcome = Delivery.Outcome
Key = tuple[UUID, str]  # hook and key
TRIES = 3

HOLDERS = Select(Delivery, where="""
JOIN jsonb_to_recordset(%(keys)s::jsonb) AS w (hook uuid, key text) ON t.hook_id = w.hook AND t.key = w.key
WHERE t.first
""")  # fmt: skip
STORE = """
WITH told AS MATERIALIZED (
    SELECT w.delivery, w.signal FROM jsonb_to_recordset(%(signals)s::jsonb) AS w (delivery uuid, signal jsonb)
), deliveries AS (
    INSERT INTO execution_delivery
    SELECT * FROM jsonb_populate_recordset(NULL::execution_delivery, %(deliveries)s::jsonb)
    ON CONFLICT (hook_id, key) WHERE first DO NOTHING RETURNING id
), signals AS (
    INSERT INTO strategies_signal
    SELECT one.* FROM told JOIN deliveries ON deliveries.id = told.delivery
    CROSS JOIN LATERAL jsonb_populate_record(NULL::strategies_signal, told.signal) AS one
    RETURNING id
)
INSERT INTO execution_delivery_signals (delivery_id, signal_id)
SELECT told.delivery, signals.id FROM told JOIN signals ON signals.id = (told.signal ->> 'id')::uuid
RETURNING delivery_id
"""
FREE = """
UPDATE execution_delivery SET first = false
WHERE hook_id = %(hook)s::uuid AND key = %(key)s AND first AND received_at <= %(grown_old)s
"""


@dataclass(slots=True)
class Drafted:
    """An alert that can be traded: what its signals will be, and what of its list was left out."""

    arrival: Arrival
    drafts: Sequence[Draft]
    skipped: Sequence[FieldError]
    delivery: Delivery = field(init=False)
    signals: list[Signal] = field(init=False)

    def make(self) -> None:
        """Its rows."""
        arrival = self.arrival
        self.delivery = row = arrival.row(Outcome.ACCEPTED, int(HTTPStatus.ACCEPTED), first=True)
        self.signals = [draft.signal(row, place, arrival) for place, draft in enumerate(self.drafts)]
        row.answer = {
            "delivery": str(row.pk), "outcome": "accepted", "signals": [told(one) for one in self.signals],
            "refused": [one.as_dict() for one in self.skipped],
            "ignored": sorted({name for one in arrival.alerts for name in one.ignored}),
        }  # fmt: skip
        row.errors = row.answer["refused"]


def told_what_became_of(arrivals: Sequence[Arrival], around: Mapping[int, Surroundings]) -> None:
    """Write down what becomes of each, and give it its reply. `around`: what alerts of a portfolio meet, by number."""
    drafted: list[Drafted] = []

    def draft(arrival: Arrival) -> None:
        understood = list(zip(arrival.alerts, arrival.meanings, strict=True))
        found = draft_signals(
            arrival.hook, understood, around=around[arrival.hook.portfolio_id], wall=arrival.wall
        )  # fmt: skip
        drafted.append(Drafted(arrival, *found))

    step(arrivals, draft)
    told: list[tuple[Arrival, Delivery]] = []
    for _ in range(TRIES):
        _together_or_alone(_store, [(one.arrival, one) for one in drafted if one.arrival.is_on_its_way])
        # A copy is told what its first was told, even when it could not be taken any more.
        told += _repeat([one for one in arrivals if one.reply is None and one.failure is None and one.key])
        left = on_their_way(arrivals)
        if not left:
            break
        for one in left:  # a holder that is younger must stop this one
            grown_old = one.wall - timedelta(seconds=one.kept_s)
            tell(FREE, {"hook": one.hook.pk, "key": one.key, "grown_old": grown_old})
    for one in on_their_way(arrivals):
        one.refusal = Refused(
            409, "BUSY", "Copies of this alert come faster than they can be told apart: send it once more."
        )
    told += [pair for one in arrivals if one.refusal is not None if (pair := _refuse(one)) is not None]
    _together_or_alone(_note, told)


def write_nothing() -> None:
    """The same statements about no delivery."""
    run(STORE, {"deliveries": "[]", "signals": "[]"})
    HOLDERS.rows({"keys": "[]"})
    tell(from_json(Delivery, "rows"), {"rows": "[]"})


def _together_or_alone(write: Callable[[Sequence[Any]], None], what: Sequence[tuple[Arrival, Any]]) -> None:
    """Where a row of one cannot be written each is written alone: the others must not fail with it."""
    if not what:
        return
    try:
        write(what)
    except (DataError, IntegrityError) as error:
        if len(what) == 1:
            what[0][0].failure = error
        for one in what if len(what) > 1 else ():
            _together_or_alone(write, [one])


# --- what is taken ----------------------------------------------------------------------------------------------------
def _store(alerts: Sequence[tuple[Arrival, Drafted]]) -> None:
    """Deliveries and their signals, by one statement, and their bells. Those whose key another delivery holds go on."""
    drafted = [one for _, one in alerts]
    for one in drafted:
        one.make()
    # In the order of their keys: two that write copies of the same alerts wait for each other one way only.
    in_order = sorted(drafted, key=lambda one: (one.delivery.hook_id, one.delivery.key))
    signals = [
        {"delivery": one.delivery.pk, "signal": columns} for one in in_order for columns in as_columns(*one.signals)
    ]  # fmt: skip
    crashpoint("intake.alerts_read")
    stored = {
        delivery for (delivery,) in run(STORE, {
            "deliveries": as_json(*(one.delivery for one in in_order)), "signals": json.dumps(signals, default=str),
        })
    }  # fmt: skip
    crashpoint("intake.alerts_stored")
    taken = [one for one in drafted if one.delivery.pk in stored]
    for one in taken:
        one.arrival.reply = Reply(one.delivery.status, one.delivery.answer)
    _ring([signal for one in taken for signal in one.signals])
    transaction.on_commit(lambda: ALERTS.labels(outcome="accepted").inc(len(taken)))


def _ring(signals: Sequence[Signal]) -> None:
    """Engines look at all that has come in, whichever signal rings; so do pages, and no answer waits for these."""
    accounts: dict[int, list[Signal]] = {}
    portfolios: dict[int, list[Signal]] = {}
    for one in signals:
        accounts.setdefault(one.portfolio.account_id, []).append(one)
        portfolios.setdefault(one.portfolio_id, []).append(one)
    for account_id, (first, *_) in accounts.items():
        after_commit("engine.signal", account_id=account_id, signal_id=str(first.pk))
    events: list[Event] = []
    for portfolio_id, (first, *more) in portfolios.items():
        about: dict[str, object] = {"signal": str(first.pk), "state": first.state}
        if more:
            about = {"portfolio": portfolio_id, "came": 1 + len(more)}
        events.append((first.portfolio.owner_id, "signal", about))
    transaction.on_commit(partial(publish_aside, events))


def told(signal: Signal) -> dict[str, Any]:
    """A signal as its sender is told of it."""
    prices = {name: getattr(signal, name) for name in ("entry", "stop", "target")}
    return {
        "id": str(signal.pk), "symbol": signal.instrument.symbol, "kind": signal.kind, "side": signal.side,
        "quantity": signal.quantity, **{name: None if price is None else str(price) for name, price in prices.items()},
    }  # fmt: skip


# --- the other outcomes -----------------------------------------------------------------------------------------------
def _repeat(arrivals: Sequence[Arrival]) -> list[tuple[Arrival, Delivery]]:
    """To those whose key a young delivery holds its answer again, and the row that says so. The same name for another
    alert is a mistake of the sender, and told."""
    if not arrivals:
        return []
    keys = [{"hook": str(one.hook.pk), "key": one.key} for one in arrivals]
    holders = {(one.hook_id, one.key): one for one in HOLDERS.rows({"keys": json.dumps(keys)})}
    rows = []
    for one in arrivals:
        known = holders.get((one.hook.pk, one.key))
        if known is None or not known.is_younger_than(one.kept_s, wall=one.wall):
            continue
        if one.named_key and known.body_digest != one.digest:
            used = f"This key was used for another alert, delivery {known.pk}: take a new one."
            one.refusal = Refused(409, "IDEMPOTENCY_KEY_REUSED", used)
            continue
        if known.body_digest == one.digest:
            one.body = ""  # it is kept already
        one.refusal = None
        row = one.row(Outcome.REPEATED, 200, answer=known.answer, detail=f"A copy of delivery {known.pk}.")
        one.reply = Reply(200, known.answer, {"Idempotent-Replay": "true"})
        rows.append((one, row))
    return rows


def _refuse(arrival: Arrival) -> tuple[Arrival, Delivery] | None:
    """The reply to one that was refused, and its row unless it is to leave none."""
    refusal = arrival.refusal
    assert refusal is not None
    refusal.detail, refusal.errors = without_secrets([refusal.detail, refusal.errors], arrival.known)
    arrival.reply = reply = reply_to(refusal)
    if not arrival.stored:
        ALERTS.labels(outcome=refusal.code.lower()).inc()
        return None
    row = arrival.row(
        Outcome.REFUSED, refusal.status, code=refusal.code, detail=refusal.detail[:400], errors=refusal.errors
    )
    row.answer = {name: value for name, value in reply.body.items() if name != "template"} | {"delivery": str(row.pk)}
    arrival.reply = Reply(reply.status, {**reply.body, "delivery": str(row.pk)}, reply.headers)
    return arrival, row


def _note(told: Sequence[tuple[Arrival, Delivery]]) -> None:
    """Rows of deliveries that hold no key."""
    tell(from_json(Delivery, "rows"), {"rows": as_json(*(row for _, row in told))})
    for _, row in told:
        ALERTS.labels(outcome=(row.code or row.outcome).lower()).inc()
    by_hook = groupby(sorted(told, key=lambda one: one[0].hook.pk), key=lambda one: one[0].hook)
    events: list[Event] = [(hook.portfolio.owner_id, "hook", {"hook": str(hook.pk)}) for hook, _ in by_hook]
    transaction.on_commit(partial(publish_aside, events))
