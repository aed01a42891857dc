"""Programs act for people with keys that are shown once, do what their scope says, and end."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.api_keys import authenticate, issue, revoke
from accounts.models import ApiKey
from tests.factories import UserFactory
from trading.audit.models import AuditEntry
from trading.domain.errors import NotAllowed

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner():
    return UserFactory()


def test_a_key_is_shown_once_and_only_its_hash_is_kept(owner):
    key, token = issue(owner=owner, name="bot", now=timezone.now())
    stored = ApiKey.objects.values().get(pk=key.pk)
    assert token.startswith(f"tz_{key.prefix}_")
    assert token.split("_", 2)[2] not in str(stored)
    assert authenticate(token, now=timezone.now()).owner == owner


def test_a_key_reads_unless_it_was_given_more(owner):
    key, _ = issue(owner=owner, name="bot", now=timezone.now())
    assert key.scope == ApiKey.Scope.READ


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "x", lambda t: t.replace("tz_", "tx_"), lambda t: ""]
)
def test_another_text_opens_nothing(owner, change):
    _, token = issue(owner=owner, name="bot", now=timezone.now())
    assert authenticate(change(token), now=timezone.now()) is None


def test_a_key_ends_when_it_expires(owner):
    now = timezone.now()
    _, token = issue(owner=owner, name="bot", expires_at=now + timedelta(days=1), now=now)
    assert authenticate(token, now=now + timedelta(hours=23)) is not None
    assert authenticate(token, now=now + timedelta(days=1)) is None


def test_a_key_ends_when_it_is_revoked_and_that_may_be_repeated(owner):
    key, token = issue(owner=owner, name="bot", now=timezone.now())
    assert revoke(key_id=key.pk, actor=owner.username, now=timezone.now())
    assert not revoke(key_id=key.pk, actor=owner.username, now=timezone.now())
    assert authenticate(token, now=timezone.now()) is None
    assert AuditEntry.objects.filter(action="api_key.revoked", subject=key.prefix).count() == 1


def test_a_key_of_somebody_who_left_opens_nothing(owner):
    _, token = issue(owner=owner, name="bot", now=timezone.now())
    owner.is_active = False
    owner.save()
    assert authenticate(token, now=timezone.now()) is None


def test_use_is_noted_at_most_once_a_minute(owner):
    now = timezone.now()
    key, token = issue(owner=owner, name="bot", now=now)
    for seconds, expected in [(0, 0), (59, 0), (61, 61)]:
        authenticate(token, now=now + timedelta(seconds=seconds))
        key.refresh_from_db()
        assert key.last_used_at == now + timedelta(seconds=expected)


def test_a_key_that_would_never_work_is_not_issued(owner):
    now = timezone.now()
    with pytest.raises(NotAllowed, match="API_KEY_EXPIRY_PAST"):
        issue(owner=owner, name="bot", expires_at=now, now=now)
    with pytest.raises(NotAllowed, match="API_SCOPE_UNKNOWN"):
        issue(owner=owner, name="bot", scope="admin", now=now)


def test_a_key_is_issued_from_the_command_line(owner):
    out = StringIO()
    call_command("create_api_key", owner.username, "--scope", "trade", "--days", "30", stdout=out)
    key = authenticate(out.getvalue().strip(), now=timezone.now())
    assert key.owner == owner
    assert key.scope == ApiKey.Scope.TRADE
    assert authenticate(out.getvalue().strip(), now=timezone.now() + timedelta(days=31)) is None
    with pytest.raises(CommandError, match="no user"):
        call_command("create_api_key", "nobody")
