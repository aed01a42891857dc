"""What lies sealed in the database opens for its owner and purpose alone, and keys rotate."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from accounts.secrets import SealBroken, key_of, reseal, seal, unseal

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def test_a_sealed_secret_opens_again():
    assert unseal(seal("s3cret-₹", owner_id=1, purpose="token"), owner_id=1, purpose="token") == "s3cret-₹"


def test_the_plain_text_is_not_in_the_seal_and_two_seals_differ():
    first, second = (seal("canary-secret", owner_id=1, purpose="token") for _ in range(2))
    assert b"canary" not in first
    assert first != second


@pytest.mark.parametrize(("owner_id", "purpose"), [(2, "token"), (1, "app_secret")])
def test_a_secret_moved_to_another_row_does_not_open(owner_id, purpose):
    sealed = seal("s3cret", owner_id=1, purpose="token")
    with pytest.raises(SealBroken):
        unseal(sealed, owner_id=owner_id, purpose=purpose)


def test_a_seal_with_any_byte_changed_does_not_open():
    sealed = seal("s3cret", owner_id=1, purpose="token")
    for place in range(len(sealed)):
        broken = bytearray(sealed)
        broken[place] ^= 1
        with pytest.raises(SealBroken):
            unseal(bytes(broken), owner_id=1, purpose="token")


@pytest.mark.parametrize("junk", [b"", b"\x01", b"plain text that nobody sealed", b"\x01\xff" + b"x" * 20])
def test_what_was_never_sealed_is_refused(junk):
    with pytest.raises(SealBroken):
        unseal(junk, owner_id=1, purpose="token")


def test_keys_rotate_while_old_seals_still_open(settings):
    settings.DATA_KEYS = {"k1": OLD}
    sealed = seal("s3cret", owner_id=1, purpose="token")
    settings.DATA_KEYS = {"k2": NEW, "k1": OLD}
    assert unseal(sealed, owner_id=1, purpose="token") == "s3cret"
    fresh = reseal(sealed, owner_id=1, purpose="token")
    assert (key_of(sealed), key_of(fresh)) == ("k1", "k2")
    assert reseal(fresh, owner_id=1, purpose="token") == fresh
    settings.DATA_KEYS = {"k2": NEW}
    assert unseal(fresh, owner_id=1, purpose="token") == "s3cret"
    with pytest.raises(SealBroken, match="SEAL_KEY_GONE"):
        unseal(sealed, owner_id=1, purpose="token")


@pytest.mark.parametrize("ring", [{}, {"k1": b"short"}, {"": OLD}])
def test_a_keyring_that_cannot_work_stops_with_a_clear_error(settings, ring):
    settings.DATA_KEYS = ring
    with pytest.raises(ImproperlyConfigured, match="DATA_KEYS"):
        seal("s3cret", owner_id=1, purpose="token")
