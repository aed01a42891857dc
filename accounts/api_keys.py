"""Keys by which programs act for people: `tz_<prefix>_<secret>`, shown once, kept as a keyed hash."""

import secrets
import string
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts.models import ApiKey, User
from trading.audit.record import record
from trading.domain.errors import NotAllowed
from trading.gathering import Gathering
from trading.statements import Select, in_a_transaction

MARK = "tz"
PREFIX_ALPHABET = string.ascii_lowercase + string.digits
PREFIX_LENGTH = 8
MOST_TOGETHER = 64
BY_PREFIX = Select(ApiKey, "owner", where="WHERE t.prefix = ANY(%(prefixes)s)")


def _found(prefixes: Sequence[str]) -> list[ApiKey | None]:
    known = {one.prefix: one for one in BY_PREFIX.rows({"prefixes": list(prefixes)})}
    return [known.get(prefix) for prefix in prefixes]


_key: Gathering[str, ApiKey | None] = Gathering(_found, most=MOST_TOGETHER, alone=in_a_transaction)


def digest_of(token: str) -> str:
    """HMAC-SHA256 with a pepper derived from SECRET_KEY: a stolen database holds no usable key."""
    return salted_hmac("accounts.api_keys", token, algorithm="sha256").hexdigest()


@transaction.atomic
def issue(
    *, owner: User, name: str, scope: str = ApiKey.Scope.READ, expires_at: datetime | None = None, now: datetime
) -> tuple[ApiKey, str]:
    """A new key and its text, which cannot be had again. `now` is wall time."""
    if scope not in ApiKey.Scope.values:
        raise NotAllowed("API_SCOPE_UNKNOWN", f"{scope!r} is not a scope; it may be {', '.join(ApiKey.Scope.values)}.")
    if expires_at is not None and expires_at <= now:
        raise NotAllowed("API_KEY_EXPIRY_PAST", "The key would have expired before its first use.")
    prefix = "".join(secrets.choice(PREFIX_ALPHABET) for _ in range(PREFIX_LENGTH))
    token = f"{MARK}_{prefix}_{secrets.token_urlsafe(32)}"
    key = ApiKey.objects.create(
        owner=owner, name=name, prefix=prefix, digest=digest_of(token), scope=scope, expires_at=expires_at
    )
    record("api_key.issued", actor=owner.get_username(), owner_id=owner.pk, subject=prefix, scope=scope)
    return key, token


@transaction.atomic
def revoke(*, key_id: int, actor: str, now: datetime) -> bool:
    """End a key. False when it had ended already; safe to repeat."""
    ended = ApiKey.objects.filter(pk=key_id, revoked_at=None).update(revoked_at=now)
    if ended:
        key = ApiKey.objects.get(pk=key_id)
        record("api_key.revoked", actor=actor, owner_id=key.owner_id, subject=key.prefix)
    return bool(ended)


def authenticate(token: str, *, now: datetime) -> ApiKey | None:
    """The living key with this text, its owner loaded; None for every other text, without saying why."""
    parts = token.split("_", 2)
    if len(parts) != 3 or parts[0] != MARK or not parts[1].isalnum() or len(parts[1]) > 12:
        return None
    key = _key(None, parts[1])
    # An unknown prefix costs the same comparison as a wrong secret.
    matches = constant_time_compare(key.digest if key else "0" * 64, digest_of(token))
    if key is None or not matches or not key.opens_at(now):
        return None
    if not key.is_noted_at(now):
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    return key
