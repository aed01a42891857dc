"""A request that trades happens once, however often it is sent.

The record is claimed in one statement, so of many copies one works and the rest are told to come back. If the process
dies between the trade and the stored answer, the next copy works again with the same key, and the same key makes the
same intent: the answer is then found, not traded.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from trading.api import problems
from trading.api.models import IdempotencyRecord
from trading.domain.errors import NotAllowed, NotFound
from trading.gathering import Gathering
from trading.statements import FORGETTABLE, in_a_transaction, run_forgettable, tell
from trading.trips import Texts, array_of

HEADER = "Idempotency-Key"
KEY_SHAPE = re.compile(r"[A-Za-z0-9._:\-]{8,64}")
IN_FLIGHT = timedelta(seconds=30)  # longer than any request lives: an older claim belongs to the dead
# What a crash forgets of these is as if the process had died before it: the same key makes the same intent.
CLAIM = (
    FORGETTABLE
    + """
INSERT INTO api_idempotencyrecord (owner_id, key, request_hash, claimed_at, created_at)
SELECT w.owner, w.key, w.asked, w.now, w.now
FROM quick, jsonb_to_recordset(%(claims)s::jsonb) AS w (owner bigint, key text, asked text, now timestamptz)
ORDER BY w.owner, w.key
ON CONFLICT (owner_id, key) DO NOTHING
RETURNING owner_id, key, id
"""
)
ANSWER = (
    FORGETTABLE
    + """
UPDATE api_idempotencyrecord r SET status = w.status, body = w.body, claimed_at = NULL
FROM quick, jsonb_to_recordset(%(answers)s::jsonb) AS w (entry bigint, status int, body jsonb)
WHERE r.id = w.entry
RETURNING r.id
"""
)
# Of a request that is answered in the transaction of its trade: there was never a claim without an answer.
KEEP = """
INSERT INTO api_idempotencyrecord (owner_id, key, request_hash, status, body, created_at)
SELECT w.owner, w.key, w.asked, w.status, w.body::jsonb, %(now)s::timestamptz
FROM unnest(%(owners)s::bigint[], %(keys)b::text[], %(asked)b::text[], %(statuses)s::int[], %(bodies)b::text[])
    AS w (owner, key, asked, status, body)
ORDER BY w.owner, w.key
"""  # binary: nothing in the bodies is quoted, nor unquoted
MOST_TOGETHER = 64
RENDERER = JSONRenderer()


@dataclass(frozen=True, slots=True)
class _Claim:
    owner_id: int
    key: str
    asked: str
    now: datetime


def _claim(claims: Sequence[_Claim]) -> list[int | None]:
    """The numbers of the records that are theirs now; None for who comes after another of the same key."""
    asked = [
        {"owner": one.owner_id, "key": one.key, "asked": one.asked, "now": one.now.isoformat()} for one in claims
    ]  # fmt: skip
    rows = run_forgettable(CLAIM, {"claims": json.dumps(asked)})
    free = {(owner_id, key): entry for owner_id, key, entry in rows}
    return [free.pop((one.owner_id, one.key), None) for one in claims]


def _answer(answers: Sequence[tuple[int, int, str]]) -> list[None]:
    """Store the status and body of each record."""
    # The bodies are JSON already: they are not wrapped a second time.
    rows = (f'{{"entry":{entry},"status":{status},"body":{body}}}' for entry, status, body in answers)
    run_forgettable(ANSWER, {"answers": f"[{','.join(rows)}]"})
    return [None] * len(answers)


_claims: Gathering[_Claim, int | None] = Gathering(_claim, most=MOST_TOGETHER, alone=in_a_transaction)
_answers: Gathering[tuple[int, int, str], None] = Gathering(_answer, most=MOST_TOGETHER, alone=in_a_transaction)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered under its key; `kept` is what of it the record keeps, as JSON."""

    owner_id: int
    key: str
    asked: str
    status: int
    kept: bytes


@dataclass(frozen=True, slots=True)
class Aside:
    """A part of answers that is not kept with them, because other rows that never change tell it: `told` says it of
    the rest of an answer, None where there is none."""

    name: str
    told: Callable[[dict[str, Any]], Any]

    def kept(self, data: dict[str, Any]) -> bytes:
        """Of an answer what is kept."""
        rendered: bytes = RENDERER.render({name: value for name, value in data.items() if name != self.name})
        return rendered

    def complete(self, kept: bytes, part: Any) -> bytes:
        """What is kept of an answer, with the part that is not."""
        return b'%s,"%s":%s}' % (kept[:-1], self.name.encode(), RENDERER.render(part))

    def whole(self, kept: dict[str, Any]) -> dict[str, Any]:
        part = None if self.name in kept else self.told(kept)
        return kept if part is None else {**kept, self.name: part}


def keep_answers(answers: Sequence[Answer], *, now: datetime) -> None:
    """Write requests down together with what they were answered, in the transaction of what they did. IntegrityError
    where somebody else has used one of the keys meanwhile."""
    tell(KEEP, {
        "owners": array_of(one.owner_id for one in answers), "keys": Texts(one.key for one in answers),
        "asked": Texts(one.asked for one in answers), "statuses": array_of(one.status for one in answers),
        "bodies": Texts(one.kept.decode() for one in answers), "now": now,
    })  # fmt: skip


def request_hash(method: str | None, path: str, data: Any) -> str:
    """SHA-256 of what is asked: method, path and canonical body."""
    asked = json.dumps([method, path, data], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(asked.encode()).hexdigest()


def key_of(request: Request) -> str:
    key = request.headers.get(HEADER, "")
    if not key:
        raise ValidationError(f"Send an {HEADER} header: a new one for each order.", code="idempotency_key_missing")
    if not KEY_SHAPE.fullmatch(key):
        raise ValidationError(
            f"{HEADER} must have 8 to 64 letters, digits or . _ : -", code="idempotency_key_malformed"
        )
    return key


def once(request: Request, act: Callable[[str], Response], *, aside: Aside | None = None) -> Response:
    """Answer with `act(key)` the first time and with what it answered every later time.

    Definite answers are stored, refusals among them. A request that was not understood, or that failed on the way,
    leaves the key free for another try with the same body.
    """
    now = timezone.now()
    key, asked = key_of(request), request_hash(request.method, request.path, request.data)
    claimed = _claims(None, _Claim(int(request.user.pk or 0), key, asked, now))
    if claimed is not None:
        entry = IdempotencyRecord(pk=claimed)
    else:
        entry = IdempotencyRecord.objects.get(owner_id=request.user.pk, key=key)
        if entry.request_hash != asked:
            return problems.problem(
                status=409, code="IDEMPOTENCY_KEY_REUSED",
                detail="This key was used for another request: take a new one.",
            )  # fmt: skip
        if entry.status is not None:
            return _replay(entry, aside)
        if not _take_over(entry, now):
            return _come_back(entry, aside)
    try:
        response = act(key)
    except (NotAllowed, NotFound) as refusal:
        response = problems.of_trading_error(refusal)
    except Exception:
        # Not understood, overtaken or broken: whoever comes next with the same key and body may try again.
        IdempotencyRecord.objects.filter(pk=entry.pk, status=None).update(claimed_at=None)
        raise
    kept = body = aside.kept(response.data) if aside else RENDERER.render(response.data)
    if aside and aside.name in response.data:
        body = aside.complete(kept, response.data[aside.name])
    _answers(None, (entry.pk, response.status_code, kept.decode()))
    response.content, response["Content-Type"] = body, response.content_type or "application/json"  # rendered once
    return response


def _take_over(entry: IdempotencyRecord, now: datetime) -> bool:
    """Claim what nobody is at work on. Compare and swap: of two callers one succeeds."""
    idle = Q(claimed_at=None) | Q(claimed_at__lt=now - IN_FLIGHT)
    return bool(IdempotencyRecord.objects.filter(idle, pk=entry.pk, status=None).update(claimed_at=now))


def _come_back(entry: IdempotencyRecord, aside: Aside | None) -> Response:
    entry.refresh_from_db()
    if entry.status is not None:
        return _replay(entry, aside)
    return problems.problem(
        status=409, code="IDEMPOTENCY_KEY_IN_FLIGHT", detail="The first copy of this request is still at work.",
        headers={"Retry-After": "1"},
    )  # fmt: skip


def _replay(entry: IdempotencyRecord, aside: Aside | None) -> Response:
    kind = problems.MEDIA_TYPE if (entry.status or 0) >= 400 else None
    body = entry.body if aside is None or entry.body is None else aside.whole(entry.body)
    return Response(body, status=entry.status, headers={"Idempotent-Replay": "true"}, content_type=kind)
