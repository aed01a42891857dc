"""What must be kept and must not be read: broker secrets and tokens, sealed with AES-256-GCM.

A sealed value names its key, so that keys rotate while the desk runs, and is bound to its owner and purpose: moved
to another row it does not open. Layout: version (1 byte), length of the key id (1), key id, nonce (12), ciphertext.
"""

import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from trading.domain.errors import TradingError

VERSION = 1
NONCE_BYTES = 12
KEY_BYTES = 32


class SealBroken(TradingError):
    """The sealed value is damaged, belongs to somebody or something else, or its key is gone."""


def _keyring() -> Mapping[str, bytes]:
    """Key id → 32 bytes; the first is the current one."""
    ring = getattr(settings, "DATA_KEYS", None)
    if not ring:
        raise ImproperlyConfigured("DATA_KEYS is empty: set TARAZU_DATA_KEY to id:base64 of 32 random bytes.")
    for key_id, key in ring.items():
        if not 1 <= len(key_id.encode()) <= 255 or len(key) != KEY_BYTES:
            raise ImproperlyConfigured(f"DATA_KEYS: {key_id!r} must be a short name for exactly {KEY_BYTES} bytes.")
    return ring


def _bound_to(owner_id: int, purpose: str, header: bytes) -> bytes:
    return header + f"|{owner_id}|{purpose}".encode()


def seal(plain: str, *, owner_id: int, purpose: str) -> bytes:
    """Encrypt a secret of one owner for one purpose, with the current key."""
    key_id, key = next(iter(_keyring().items()))
    name = key_id.encode()
    header = bytes([VERSION, len(name)]) + name
    nonce = os.urandom(NONCE_BYTES)
    return header + nonce + AESGCM(key).encrypt(nonce, plain.encode(), _bound_to(owner_id, purpose, header))


def key_of(sealed: bytes | memoryview) -> str:
    """Id of the key that sealed this value. Raises SealBroken for what was never sealed."""
    raw = bytes(sealed)
    if len(raw) < 2 or raw[0] != VERSION or len(raw) < 2 + raw[1] + NONCE_BYTES:
        raise SealBroken("SEAL_BROKEN", "This value was not sealed by the desk.")
    return raw[2 : 2 + raw[1]].decode(errors="replace")


def unseal(sealed: bytes | memoryview, *, owner_id: int, purpose: str) -> str:
    """The secret. Raises SealBroken unless the owner, the purpose and every byte are those it was sealed with."""
    raw = bytes(sealed)
    key_id = key_of(raw)
    key = _keyring().get(key_id)
    if key is None:
        raise SealBroken("SEAL_KEY_GONE", f"Data key {key_id} is not in the keyring.", key_id=key_id)
    body = 2 + raw[1]
    header, nonce, ciphertext = raw[:body], raw[body : body + NONCE_BYTES], raw[body + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, _bound_to(owner_id, purpose, header)).decode()
    except InvalidTag:
        raise SealBroken("SEAL_BROKEN", "The secret was altered, or sealed for another owner or purpose.") from None


def reseal(sealed: bytes | memoryview, *, owner_id: int, purpose: str) -> bytes:
    """The same secret under the current key; unchanged when it is there already."""
    if key_of(sealed) == next(iter(_keyring())):
        return bytes(sealed)
    return seal(unseal(sealed, owner_id=owner_id, purpose=purpose), owner_id=owner_id, purpose=purpose)
