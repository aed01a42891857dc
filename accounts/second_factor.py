"""A second factor, given now and not at sign-in: what undoes a safety asks for it. Needs the database alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.mfa.utils import decrypt
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from trading.domain.errors import NotAllowed

FRESH_FOR = timedelta(minutes=5)
WRONG_AT_MOST = 5
MISSING, LOCKED, WRONG = "missing", "locked", "wrong"
WRONG_CODES = "wrong_codes"  # how many in a row, and when the last one was given
LAST_STEP = "last_step"  # beside the sealed secret: a code that was used once is used up, in every process


@dataclass(frozen=True, slots=True)
class FreshFactor:
    """The proof: only `give_factor` makes one."""

    user_id: int
    method: str
    given_at: datetime

    def is_fresh(self) -> bool:
        return timezone.now() - self.given_at < FRESH_FOR


def give_factor(user: User, code: str) -> FreshFactor:
    """Check a code of the authenticator app, or a recovery code.

    NotAllowed: no factor set up (SECOND_FACTOR_MISSING), a wrong or used code (SECOND_FACTOR_WRONG), five wrong ones in
    a row (SECOND_FACTOR_LOCKED, for five minutes).
    """
    method = _check(user, code.strip().replace(" ", ""))
    if method == MISSING:
        raise NotAllowed(
            "SECOND_FACTOR_MISSING", "This needs a second factor, and none is set up.",
            next_step="Set up an authenticator app under your name, then try again.",
        )  # fmt: skip
    if method == LOCKED:
        raise NotAllowed("SECOND_FACTOR_LOCKED", "Too many wrong codes: wait five minutes.")
    if method == WRONG:
        raise NotAllowed("SECOND_FACTOR_WRONG", "This code is not the newest one, or was used before.")
    return FreshFactor(user.pk, method, timezone.now())


@transaction.atomic
def _check(user: User, code: str) -> str:
    """How the code was accepted, or why it was not. What is written stays, whatever the caller makes of it."""
    rows = {row.type: row for row in Authenticator.objects.select_for_update().filter(user=user)}
    totp = rows.get(Authenticator.Type.TOTP)
    if totp is None:
        return MISSING
    wall = int(timezone.now().timestamp())
    wrong, wrong_at = totp.data.get(WRONG_CODES, (0, 0))
    if wrong >= WRONG_AT_MOST and wall - wrong_at < FRESH_FOR.total_seconds():
        return LOCKED
    recovery = rows.get(Authenticator.Type.RECOVERY_CODES)
    method = WRONG
    step = _accepted_step(totp, code)
    if step is not None:
        method, totp.data[LAST_STEP] = "totp", step
    elif code and recovery is not None and RecoveryCodes(recovery).validate_code(code):
        method = "recovery_code"
    totp.data[WRONG_CODES] = [wrong + 1, wall] if method == WRONG else [0, 0]
    totp.last_used_at = timezone.now() if method != WRONG else totp.last_used_at
    totp.save(update_fields=["data", "last_used_at"])
    return method


def _accepted_step(row: Authenticator, code: str) -> int | None:
    """The step of time whose code this is, if it is newer than the last one used."""
    secret = decrypt(row.data["secret"])
    for step in yield_hotp_counters_from_time():
        if step > row.data.get(LAST_STEP, 0) and compare_user_code(
            actual=code, expected=format_hotp_value(hotp_value(secret, step))
        ):
            return step
    return None
