"""The door for alerts: one address a hook, no session, no cookie, every answer JSON."""

import json
from ipaddress import ip_address
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from execution.hooks.arrival import Knock, Reply, reply_to
from execution.hooks.receive import receive, too_large
from execution.hooks.refusal import Refused
from execution.hooks.signature import HEADER
from execution.hooks.strict_json import MAX_BODY_BYTES
from trading.api.problems import MEDIA_TYPE


@csrf_exempt
def hook_door(request: HttpRequest, hook_id: str) -> HttpResponse:
    """POST: an alert. 202 with its signals, 200 for a copy, a problem document for everything else."""
    if request.method != "POST":
        reply = reply_to(Refused(405, "METHOD_NOT_ALLOWED", "Alerts come by POST. The hook's page has the template."))
        return _answer(Reply(reply.status, reply.body, {"Allow": "POST"}))
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        return _answer(too_large())
    knock = knocked(
        _as_uuid(hook_id),
        request.read(MAX_BODY_BYTES + 1),
        sender=str(request.META.get("REMOTE_ADDR") or ""),
        forwarded=request.headers.get("X-Forwarded-For", ""),
        signature=request.headers.get(HEADER, ""),
        idempotency_key=request.headers.get("Idempotency-Key", ""),
        address_secret=request.GET.get("secret"),
    )
    return _answer(receive(knock))


def knocked(
    hook_id: UUID | None, raw: bytes, *, sender: str, forwarded: str, signature: str, idempotency_key: str,
    address_secret: str | None,
) -> Knock:  # fmt: skip
    """A request, come now."""
    return Knock(
        hook_id, raw, remote_ip(sender, forwarded), timezone.now(), signature[:200], idempotency_key[:400],
        address_secret,
    )  # fmt: skip


def remote_ip(sender: str, forwarded: str) -> str:
    """Who sent it: the other end of the connection, or what the outermost of our own proxies saw (TARAZU_PROXIES).
    "" where that is no address. What a sender writes into X-Forwarded-For itself counts for nothing."""
    seen = sender
    proxies = settings.ALLAUTH_TRUSTED_PROXY_COUNT
    if proxies:
        told = [part.strip() for part in forwarded.split(",") if part.strip()]
        seen = told[-proxies] if len(told) >= proxies else seen
    try:
        address = ip_address(seen)
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def told(reply: Reply) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a reply."""
    kind = MEDIA_TYPE if reply.status >= 400 else "application/json"
    body = json.dumps(reply.body, separators=(",", ":")).encode()
    return body, {"Content-Type": kind, "Cache-Control": "no-store", **reply.headers}


def _answer(reply: Reply) -> HttpResponse:
    body, headers = told(reply)
    return HttpResponse(body, status=reply.status, headers=headers)
