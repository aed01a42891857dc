"""An alert comes in by a hook: it becomes signals once, or is refused and says why. No broker is called here.

Proof of the sender, then reading, then one statement and its commit: the delivery that holds the key, and its signals.
The key is unique in the database, so that of many copies at the same moment, in whichever processes, one trades; the
others wait for its commit and are told what it was told. "Taken" promises that much: the signals are on the disk, whole
and checked, whether or not anybody is there to hear of them.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db import transaction
from prometheus_client import Counter

from execution.hooks import strict_json
from execution.hooks.adapters import alerts_in, dialect_of, refuse_plain_text
from execution.hooks.arrival import KEPT_S, Arrival
from execution.hooks.keep import open_secrets
from execution.hooks.masking import masked, without_secrets
from execution.hooks.meaning import meaning_of
from execution.hooks.payload import Alert, read_alert
from execution.hooks.refusal import FieldError, Refused
from execution.hooks.signal_of import Draft, draft_signals
from execution.hooks.signature import prove
from execution.models import Delivery, Hook
from strategies.models import Signal
from trading.api.problems import problem_body
from trading.api.throttling import count_call
from trading.outbox import after_commit
from trading.realtime.publish import publish
from trading.statements import Select, as_json, insert, run, tell

ALERTS = Counter("tarazu_hook_alerts_total", "Alerts that came in by hooks, by what became of them", ["outcome"])

BARE_S = 30  # of alerts without time or id: what reads the same within it is the same
AHEAD_S = 60  # how far the sender's clock may be before ours
STRANGERS_A_MINUTE = 30  # failed proofs of one address at one hook that are answered with a reason
STRANGERS_STORED = 10  # and those that leave a row
KEY_SHAPE = re.compile(r"[\x21-\x7e]{1,200}")
Outcome = Delivery.Outcome

HOOK = Select(Hook, "portfolio__account", "portfolio__owner", where="WHERE t.id = %(hook)s::uuid")
HOLDER = Select(Delivery, where="WHERE t.hook_id = %(hook)s::uuid AND t.key = %(key)s AND t.first")
STORE = """
WITH delivery AS (
    INSERT INTO execution_delivery
    SELECT * FROM jsonb_populate_recordset(NULL::execution_delivery, %(delivery)s::jsonb)
    ON CONFLICT (hook_id, key) WHERE first DO NOTHING RETURNING id
), signals AS (
    INSERT INTO strategies_signal
    SELECT one.* FROM delivery, jsonb_populate_recordset(NULL::strategies_signal, %(signals)s::jsonb) AS one
    RETURNING id
)
INSERT INTO execution_delivery_signals (delivery_id, signal_id)
SELECT delivery.id, signals.id FROM delivery, signals RETURNING 1
"""
FREE = """
UPDATE execution_delivery SET first = false
WHERE hook_id = %(hook)s::uuid AND key = %(key)s AND first AND received_at <= %(grown_old)s
"""


@dataclass(frozen=True, slots=True)
class Knock:
    """One request at a hook's door, as plain values."""

    hook_id: UUID | None
    raw: bytes
    remote_ip: str
    signature: str = ""
    idempotency_key: str = ""
    address_secret: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


def receive(knock: Knock, *, wall: datetime) -> Reply:
    """Take one alert in. Every outcome is a reply; whatever is not a 2xx traded nothing."""
    if len(knock.raw) > strict_json.MAX_BODY_BYTES:
        return too_large()
    hook = HOOK.first({"hook": knock.hook_id}) if knock.hook_id else None
    if hook is None:
        return reply_to(Refused(404, "HOOK_NOT_FOUND", "There is no hook at this address."))
    arrival = Arrival(hook, wall, knock.remote_ip, digest=hashlib.sha256(knock.raw).hexdigest())
    stored = True
    try:
        try:
            body = _proven(arrival, knock)
        except Refused as refusal:
            stored = _note_stranger(arrival, refusal) <= STRANGERS_STORED
            raise
        if not hook.enabled or not hook.portfolio.owner.is_active:
            raise Refused(403, "HOOK_DISABLED", "This hook is switched off.")
        calls = count_call(f"hook:{hook.pk}:{int(wall.timestamp() // 60)}")
        if calls > hook.rate_per_minute:
            stored = calls <= hook.rate_per_minute + 1  # one row says it; a flood must not fill the disk
            raise Refused(429, "RATE_LIMITED", f"More than {hook.rate_per_minute} alerts in a minute.")
        return _take(arrival, body, knock.idempotency_key)
    except Refused as refusal:
        return _refuse(arrival, refusal, stored=stored)


def replay(delivery: Delivery, *, token: str, actor: str, wall: datetime) -> Reply:
    """Run a delivery once more, as a new one, marked: its age does not matter, its proof was given. A second press
    of the same button (the same token) is a copy. Refused alike where the alert is still not what it must be."""
    arrival = Arrival(delivery.hook, wall, "", replay_of=delivery, actor=actor, body=delivery.body)
    arrival.digest = hashlib.sha256(delivery.body.encode()).hexdigest()
    try:
        if not delivery.can_be_replayed:
            raise Refused(422, "CANNOT_BE_REPLAYED", "It came without proof, or is a copy: replay the one it copies.")
        if not delivery.hook.enabled:
            raise Refused(403, "HOOK_DISABLED", "This hook is switched off.")
        return _take(arrival, strict_json.read_object(delivery.body), f"{delivery.pk}:{token}")
    except Refused as refusal:
        return _refuse(arrival, refusal, stored=True)


# --- proof ------------------------------------------------------------------------------------------------------------
def _proven(arrival: Arrival, knock: Knock) -> dict[str, Any]:
    """The body's object, once the sender has proved itself."""
    hook = arrival.hook
    known = arrival.known = open_secrets(hook, wall=arrival.wall)
    text, body, unread = "", None, None
    try:
        text = strict_json.as_text(knock.raw)
        if not strict_json.looks_like_json(text):
            raise refuse_plain_text()
        body = strict_json.read_object(text)
    except Refused as refusal:
        unread = refusal
    arrival.body = masked(text or knock.raw.decode("utf-8", "backslashreplace"), body, known)
    arrival.dialect = dialect_of(body) if body else ""
    if not hook.lets_in(knock.remote_ip):
        raise Refused(403, "ADDRESS_NOT_ALLOWED", f"{knock.remote_ip} may not send to this hook.")
    said = body.get("secret") if body else None
    secret = said if isinstance(said, str) else None
    if secret is None and hook.secret_in_address:
        secret = knock.address_secret
    if unread is not None and not knock.signature:
        raise unread  # a secret that cannot be read cannot be wrong
    prove(mode=hook.authentication, known=known, raw=knock.raw, signature=knock.signature, secret=secret)
    if body is None:
        raise unread or refuse_plain_text()
    masked_body: dict[str, Any] = without_secrets(body, known)
    return masked_body


def _note_stranger(arrival: Arrival, refusal: Refused) -> int:
    """How many failed proofs of this sender that makes in this minute. Too many get no reason any more."""
    minute = int(arrival.wall.timestamp() // 60)
    calls = count_call(f"hook-stranger:{arrival.hook.pk}:{arrival.remote_ip}:{minute}")
    if calls > STRANGERS_A_MINUTE:
        refusal.status, refusal.code, refusal.errors, refusal.more = 429, "RATE_LIMITED", [], {}
        refusal.detail = "Too many alerts without proof from this address: come back in a minute."
    return calls


# --- reading, and the one transaction ---------------------------------------------------------------------------------
def _take(arrival: Arrival, body: Mapping[str, Any], given_key: str) -> Reply:
    hook, wall = arrival.hook, arrival.wall
    arrival.dialect = dialect_of(body)
    alerts = [read_alert(one, default_timeframe=hook.timeframe) for one in alerts_in(body, wall=wall)]
    if alerts[0].user_id not in ("", hook.portfolio.owner.get_username()):
        shown = alerts[0].name_of("user_id")
        wrong = FieldError(shown, "NOT_THE_OWNER", "It is not the user name of the hook's owner.")
        raise Refused(403, "NOT_THE_OWNER", wrong.message, [wrong])
    _name(arrival, alerts, given_key)
    try:
        if arrival.replay_of is None:
            _refuse_untimely(alerts[0], hook, wall)
        meanings = [meaning_of(one, default_action=hook.default_action) for one in alerts]
        drafts, skipped = draft_signals(hook, list(zip(alerts, meanings, strict=True)), wall=wall)
    except Refused:
        known = _holder(arrival)  # a copy is told what its first was told, even when it could not be taken any more
        if known is None:
            raise
        return _repeat(arrival, known)
    for _ in range(3):
        reply = _store(arrival, drafts, skipped, alerts)
        if reply is not None:
            return reply
        known = _holder(arrival)
        if known is not None:
            return _repeat(arrival, known)
        grown_old = wall - timedelta(seconds=arrival.kept_s)  # one that is younger must stop this one
        tell(FREE, {"hook": hook.pk, "key": arrival.key, "grown_old": grown_old})
    raise Refused(409, "BUSY", "Copies of this alert come faster than they can be told apart: send it once more.")


def _name(arrival: Arrival, alerts: Sequence[Alert], given_key: str) -> None:
    """What makes a copy a copy: the sender's key; else trade, time and action; else every character of the body."""
    first = alerts[0]
    if arrival.replay_of is not None:
        kind, words = "replay", [given_key]
    elif given_key:
        if not KEY_SHAPE.fullmatch(given_key):
            said = "Idempotency-Key may have 1 to 200 printable characters."
            raise Refused(400, "IDEMPOTENCY_KEY_MALFORMED", said)
        kind, words, arrival.named_key = "header", [given_key], True
    elif first.trade_id and first.said_at is not None and len(alerts) == 1:
        # Symbol and timeframe too: one strategy on two charts calls both its orders "Long".
        words = [first.trade_id, first.said_at.isoformat(), first.action or first.intent or first.position]
        kind, words = "natural", [*words, first.exchange, first.symbol, first.timeframe]
    else:
        kind, words = "body", [arrival.digest]
        arrival.kept_s = KEPT_S if first.said_at is not None else BARE_S
    arrival.key = f"{kind}:{hashlib.sha256(json.dumps(words).encode()).hexdigest()}"


def _holder(arrival: Arrival) -> Delivery | None:
    """The delivery that holds the key, while it is young enough to."""
    found = HOLDER.first({"hook": arrival.hook.pk, "key": arrival.key})
    return found if found and found.is_younger_than(arrival.kept_s, wall=arrival.wall) else None


def _refuse_untimely(alert: Alert, hook: Hook, wall: datetime) -> None:
    if alert.said_at is None:
        return
    age_s = (wall - alert.said_at).total_seconds()
    shown = alert.name_of("timestamp")
    if age_s - alert.said_within_s > hook.max_age_s:
        wrong = FieldError(shown, "STALE", f"It is {age_s:.0f} s old; {hook.max_age_s} s are allowed.")
        raise Refused(422, "STALE_ALERT", f"The alert is stale: {wrong.message}", [wrong])
    if age_s < -AHEAD_S:
        wrong = FieldError(shown, "AHEAD", f"It lies {-age_s:.0f} s ahead of the desk's clock.")
        raise Refused(422, "ALERT_AHEAD", f"The alert comes from the future: {wrong.message}", [wrong])


def _store(
    arrival: Arrival, drafts: Sequence[Draft], skipped: Sequence[FieldError], alerts: Sequence[Alert]
) -> Reply | None:
    """The delivery and its signals, by one statement, and their bells. None where another delivery holds the key."""
    hook = arrival.hook
    row = arrival.row(Outcome.ACCEPTED, int(HTTPStatus.ACCEPTED), first=True)
    signals = [draft.signal(row, place, arrival) for place, draft in enumerate(drafts)]
    row.answer = {
        "delivery": str(row.pk), "outcome": "accepted", "signals": [told(one) for one in signals],
        "refused": [one.as_dict() for one in skipped], "ignored": sorted({n for one in alerts for n in one.ignored}),
    }  # fmt: skip
    row.errors = row.answer["refused"]
    if not run(STORE, {"delivery": as_json(row), "signals": as_json(*signals)}):
        return None
    for one in signals:
        after_commit("engine.signal", account_id=hook.portfolio.account_id, signal_id=str(one.pk))
        publish(hook.portfolio.owner_id, "signal", signal=str(one.pk), state=one.state)
    transaction.on_commit(lambda: ALERTS.labels(outcome="accepted").inc())
    return Reply(row.status, row.answer)


def told(signal: Signal) -> dict[str, Any]:
    """A signal as its sender is told of it."""
    prices = {name: getattr(signal, name) for name in ("entry", "stop", "target")}
    return {
        "id": str(signal.pk), "symbol": signal.instrument.symbol, "kind": signal.kind, "side": signal.side,
        "quantity": signal.quantity, **{name: None if price is None else str(price) for name, price in prices.items()},
    }  # fmt: skip


# --- the other outcomes -----------------------------------------------------------------------------------------------
def _repeat(arrival: Arrival, known: Delivery) -> Reply:
    """The first answer again. The same name for another alert is a mistake of the sender, and told."""
    if arrival.named_key and known.body_digest != arrival.digest:
        raise Refused(
            409, "IDEMPOTENCY_KEY_REUSED", f"This key was used for another alert, delivery {known.pk}: take a new one."
        )
    if known.body_digest == arrival.digest:
        arrival.body = ""  # it is kept already
    row = arrival.row(Outcome.REPEATED, 200, answer=known.answer, detail=f"A copy of delivery {known.pk}.")
    insert(row)
    ALERTS.labels(outcome="repeated").inc()
    publish(arrival.hook.portfolio.owner_id, "hook", hook=str(arrival.hook.pk))
    return Reply(200, known.answer, {"Idempotent-Replay": "true"})


def _refuse(arrival: Arrival, refusal: Refused, *, stored: bool) -> Reply:
    refusal.detail, refusal.errors = without_secrets([refusal.detail, refusal.errors], arrival.known)
    reply = reply_to(refusal)
    ALERTS.labels(outcome=refusal.code.lower()).inc()
    if not stored:
        return reply
    row = arrival.row(
        Outcome.REFUSED, refusal.status, code=refusal.code, detail=refusal.detail[:400], errors=refusal.errors
    )
    row.answer = {name: value for name, value in reply.body.items() if name != "template"} | {"delivery": str(row.pk)}
    insert(row)
    publish(arrival.hook.portfolio.owner_id, "hook", hook=str(arrival.hook.pk))
    return Reply(reply.status, {**reply.body, "delivery": str(row.pk)}, reply.headers)


def reply_to(refusal: Refused) -> Reply:
    """The problem document of a refusal."""
    more: dict[str, Any] = {"errors": refusal.errors} if refusal.errors else {}
    body = problem_body(status=refusal.status, code=refusal.code, detail=refusal.detail, **more, **refusal.more)
    headers = {"Retry-After": "60"} if refusal.status == HTTPStatus.TOO_MANY_REQUESTS else {}
    return Reply(refusal.status, body, headers)


def too_large() -> Reply:
    return reply_to(Refused(413, "BODY_TOO_LARGE", f"An alert may have {strict_json.MAX_BODY_BYTES} bytes."))
