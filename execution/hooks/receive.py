"""Alerts come in by a hook: each becomes signals once, or is refused and says why. No broker is called here.

Proof of the sender, then reading, then one statement and its commit (`execution.hooks.keeping`). Those that come
together are taken together, one alone by the same steps: what is asked and written for one is asked and written once
for all, and what is wrong with one ends its own way only.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import datetime

from execution.hooks import strict_json
from execution.hooks.adapters import alerts_in, dialect_of, refuse_plain_text
from execution.hooks.arrival import KEPT_S, Arrival, Knock, Reply, on_their_way, reply_to, step
from execution.hooks.keep import open_secrets
from execution.hooks.keeping import told_what_became_of, write_nothing
from execution.hooks.masking import masked, without_secrets
from execution.hooks.meaning import meaning_of
from execution.hooks.payload import Alert, read_alert
from execution.hooks.refusal import FieldError, Refused
from execution.hooks.signal_of import surroundings_of, surroundings_of_nothing
from execution.hooks.signature import prove
from execution.models import Delivery, Hook
from trading.api.throttling import count_calls
from trading.statements import Select

BARE_S = 30  # of alerts without time or id: what reads the same within it is the same
AHEAD_S = 60  # how far the sender's clock may be before ours
STRANGERS_A_MINUTE = 30  # failed proofs of one address at one hook that are answered with a reason
STRANGERS_STORED = 10  # and those that leave a row
KEY_SHAPE = re.compile(r"[\x21-\x7e]{1,200}")
HOOKS = Select(Hook, "portfolio__account", "portfolio__owner", where="WHERE t.id = ANY(%(hooks)s::uuid[])")


def receive(knock: Knock) -> Reply:
    """Take one alert in. Every outcome is a reply; whatever is not a 2xx traded nothing."""
    (reply,) = receive_all([knock])
    if isinstance(reply, Exception):
        raise reply
    return reply


def receive_all(knocks: Sequence[Knock]) -> list[Reply | Exception]:
    """Take in alerts that came together, in their order; of each its reply, or why there is none."""
    hooks = {one.pk: one for one in HOOKS.rows({"hooks": list({one.hook_id for one in knocks if one.hook_id})})}
    arrivals: dict[int, Arrival] = {}
    replies: dict[int, Reply | Exception] = {}
    for place, knock in enumerate(knocks):
        hook = hooks.get(knock.hook_id) if knock.hook_id else None
        if len(knock.raw) > strict_json.MAX_BODY_BYTES:
            replies[place] = too_large()
        elif hook is None:
            replies[place] = reply_to(Refused(404, "HOOK_NOT_FOUND", "There is no hook at this address."))
        else:
            digest = hashlib.sha256(knock.raw).hexdigest()
            arrivals[place] = Arrival(
                hook, knock.wall, knock.remote_ip, knock.idempotency_key, knock.came, digest=digest
            )  # fmt: skip
    if arrivals:
        _prove(arrivals, knocks)
        _count(list(arrivals.values()))
        _take(list(arrivals.values()))
    for place, one in arrivals.items():
        told = one.failure or one.reply
        assert told is not None
        replies[place] = told
    return [replies[place] for place in range(len(knocks))]


def replay(delivery: Delivery, *, token: str, actor: str, wall: datetime) -> Reply:
    """Run a delivery once more, as a new one, marked: its age does not matter, its proof was given. A second press
    of the same button (the same token) is a copy. Refused alike where the alert is still not what it must be."""
    arrival = Arrival(
        delivery.hook, wall, "", f"{delivery.pk}:{token}", replay_of=delivery, actor=actor, body=delivery.body
    )  # fmt: skip
    arrival.digest = hashlib.sha256(delivery.body.encode()).hexdigest()

    def again(arrival: Arrival) -> None:
        if not delivery.can_be_replayed:
            raise Refused(422, "CANNOT_BE_REPLAYED", "It came without proof, or is a copy: replay the one it copies.")
        if not delivery.hook.enabled:
            raise Refused(403, "HOOK_DISABLED", "This hook is switched off.")
        arrival.said = strict_json.read_object(delivery.body)

    step([arrival], again)
    _take([arrival])
    if arrival.failure is not None:
        raise arrival.failure
    assert arrival.reply is not None
    return arrival.reply


def too_large() -> Reply:
    return reply_to(Refused(413, "BODY_TOO_LARGE", f"An alert may have {strict_json.MAX_BODY_BYTES} bytes."))


def make_ready() -> None:
    """Every question and every statement of the way, once, about nothing: the first alert of a process then meets an
    open line whose plans are made. It took ten times as long as the next, and those behind it waited."""
    HOOKS.rows({"hooks": []})
    count_calls(["hook:nobody"])
    surroundings_of_nothing()
    write_nothing()


# --- proof ------------------------------------------------------------------------------------------------------------
def _prove(arrivals: dict[int, Arrival], knocks: Sequence[Knock]) -> None:
    knock_of = {id(one): knocks[place] for place, one in arrivals.items()}
    step(arrivals.values(), lambda one: _proven(one, knock_of[id(one)]))
    strangers = [one for one in arrivals.values() if one.refusal is not None]
    if strangers:
        _note_strangers(strangers)
    step(arrivals.values(), _refuse_where_off)


def _proven(arrival: Arrival, knock: Knock) -> None:
    """Reads the body's object; it goes on once the sender has proved itself."""
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
    arrival.said = without_secrets(body, known)


def _note_strangers(arrivals: Sequence[Arrival]) -> None:
    """How many failed proofs of a sender that makes in this minute. Too many get no reason any more."""
    names = [f"hook-stranger:{one.hook.pk}:{one.remote_ip}:{_minute(one.wall)}" for one in arrivals]
    for one, calls in zip(arrivals, count_calls(names), strict=True):
        one.stored = calls <= STRANGERS_STORED
        if calls > STRANGERS_A_MINUTE:
            one.refusal = Refused(
                429, "RATE_LIMITED", "Too many alerts without proof from this address: come back in a minute."
            )


def _refuse_where_off(arrival: Arrival) -> None:
    if not arrival.hook.enabled or not arrival.hook.portfolio.owner.is_active:
        raise Refused(403, "HOOK_DISABLED", "This hook is switched off.")


def _count(arrivals: Sequence[Arrival]) -> None:
    """Each hook takes so many in a minute. One row says that they were more; a flood must not fill the disk."""
    going = on_their_way(arrivals)
    if not going:
        return
    for one, calls in zip(
        going, count_calls([f"hook:{one.hook.pk}:{_minute(one.wall)}" for one in going]), strict=True
    ):
        most = one.hook.rate_per_minute
        if calls > most:
            one.stored = calls <= most + 1
            one.refusal = Refused(429, "RATE_LIMITED", f"More than {most} alerts in a minute.")


def _minute(wall: datetime) -> int:
    return int(wall.timestamp() // 60)


# --- reading ----------------------------------------------------------------------------------------------------------
def _take(arrivals: Sequence[Arrival]) -> None:
    """Read them, and have written what becomes of each: all have a reply, or failed."""
    step(arrivals, _read)
    step(arrivals, _name)
    step(arrivals, _understand)
    going = on_their_way(arrivals)
    around = surroundings_of([(one.hook, one.alerts) for one in going]) if going else {}
    told_what_became_of(arrivals, around)


def _read(arrival: Arrival) -> None:
    arrival.dialect = dialect_of(arrival.said)
    hook = arrival.hook
    arrival.alerts = [
        read_alert(one, default_timeframe=hook.timeframe) for one in alerts_in(arrival.said, wall=arrival.wall)
    ]  # fmt: skip
    first = arrival.alerts[0]
    if first.user_id not in ("", hook.portfolio.owner.get_username()):
        wrong = FieldError(first.name_of("user_id"), "NOT_THE_OWNER", "It is not the user name of the hook's owner.")
        raise Refused(403, "NOT_THE_OWNER", wrong.message, [wrong])


def _name(arrival: Arrival) -> None:
    """What makes a copy a copy: the sender's key; else trade, time and action; else every character of the body."""
    first, given_key = arrival.alerts[0], arrival.given_key
    if arrival.replay_of is not None:
        kind, words = "replay", [given_key]
    elif given_key:
        if not KEY_SHAPE.fullmatch(given_key):
            said = "Idempotency-Key may have 1 to 200 printable characters."
            raise Refused(400, "IDEMPOTENCY_KEY_MALFORMED", said)
        kind, words, arrival.named_key = "header", [given_key], True
    elif first.trade_id and first.said_at is not None and len(arrival.alerts) == 1:
        # Symbol and timeframe too: one strategy on two charts calls both its orders "Long".
        words = [first.trade_id, first.said_at.isoformat(), first.action or first.intent or first.position]
        kind, words = "natural", [*words, first.exchange, first.symbol, first.timeframe]
    else:
        kind, words = "body", [arrival.digest]
        arrival.kept_s = KEPT_S if first.said_at is not None else BARE_S
    arrival.key = f"{kind}:{hashlib.sha256(json.dumps(words).encode()).hexdigest()}"


def _understand(arrival: Arrival) -> None:
    if arrival.replay_of is None:
        _refuse_untimely(arrival.alerts[0], arrival.hook, arrival.wall)
    arrival.meanings = [meaning_of(one, default_action=arrival.hook.default_action) for one in arrival.alerts]


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
