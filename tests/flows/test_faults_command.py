"""`manage.py faults` says where it looked for the sandbox, and how to send it elsewhere."""

import pytest
from django.core.management import CommandError, call_command

from tests.factories import BrokerAccountFactory

pytestmark = pytest.mark.django_db


def test_a_sandbox_that_is_not_there_is_named_with_its_address():
    BrokerAccountFactory(name="My sandbox", base_url="http://127.0.0.1:1")
    with pytest.raises(CommandError) as told:
        call_command("faults", "--off")
    said = str(told.value)
    assert "http://127.0.0.1:1/sandbox" in said and "My sandbox" in said and "TARAZU_SANDBOX_PORT=" in said


def test_it_plays_at_the_sandbox_of_the_account(start_sandbox, capsys):
    BrokerAccountFactory(base_url=start_sandbox("--stepped").base_url)
    call_command("faults", "--plan", "bad-day")
    assert '"plan": "bad-day"' in capsys.readouterr().out
