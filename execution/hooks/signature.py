"""Proof that an alert comes from whoever knows the hook's secret: the secret itself, or a signature of the body made
with it. Everything is compared in constant time, and always against every secret that opens."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from execution.hooks.refusal import Refused
from execution.models import Hook

MARK = "tzh_"
HEADER = "X-Signature"
Mode = Hook.Authentication


def new_secret() -> str:
    """256 bits, as they stand in a template."""
    return MARK + secrets.token_urlsafe(32)


def sign(raw: bytes, secret: str) -> str:
    """HMAC-SHA256 of the body as it is sent, in hex: the value of `X-Signature`."""
    return hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def is_signed(raw: bytes, signature: str, known: Sequence[str]) -> bool:
    """Whether one of the known secrets made this signature. `sha256=` before it and capitals do not matter."""
    given = signature.strip().lower().removeprefix("sha256=").encode(errors="replace")
    fits = [hmac.compare_digest(sign(raw, secret).encode(), given) for secret in known]
    return any(fits)


def is_secret(given: str, known: Sequence[str]) -> bool:
    said = given.encode(errors="replace")
    fits = [hmac.compare_digest(secret.encode(), said) for secret in known]
    return any(fits)


def prove(*, mode: str, known: Sequence[str], raw: bytes, signature: str, secret: str | None) -> None:
    """Return when the sender has proved itself as the hook demands; Refused (401) otherwise.

    A signature that was sent must fit, even where the secret alone would do: it says that the body was changed.
    """
    if signature and not is_signed(raw, signature, known):
        raise Refused(401, "SIGNATURE_WRONG", f"{HEADER} is not the HMAC-SHA256 of this body with the hook's secret.")
    knows_secret = secret is not None and is_secret(secret, known)
    if secret is not None and not knows_secret and (mode != Mode.HMAC or not signature):
        raise Refused(401, "SECRET_WRONG", "The secret is not that of this hook, or it was rotated since.")
    if not signature and mode in (Mode.HMAC, Mode.BOTH):
        raise Refused(401, "SIGNATURE_MISSING", f"This hook asks for {HEADER}: the HMAC-SHA256 of the body, in hex.")
    if not knows_secret and (mode in (Mode.SECRET, Mode.BOTH) or not signature):
        raise Refused(401, "SECRET_MISSING", 'This hook asks for its secret: "secret" in the body.')
