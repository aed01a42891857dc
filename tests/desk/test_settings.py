"""A wrong setting is one line that says what to do."""

import os
import subprocess
import sys

import pytest

from trading.desk.servers import CHECKOUT
from trading.settings import env
from trading.settings.logs import redact


def test_a_database_behind_a_socket_folder_is_understood():
    found = env.database("postgres://tarazu@/desk?host=/run/pg")
    assert (found["HOST"], found["NAME"], found["USER"], found["PORT"]) == ("/run/pg", "desk", "tarazu", "")


def test_a_password_with_reserved_characters_survives():
    assert env.database("postgres://u:p%40ss%2F@db:6432/x")["PASSWORD"] == "p@ss/"


@pytest.mark.parametrize(
    "line",
    [
        "GET /data?access_token=CANARY&x=1",
        "Authorization: Bearer CANARY",
        "{'authorization': 'APP-100:CANARY'}",
        '{"auth_code": "CANARY", "pin": "1"}',
        "secret_key=CANARY",
        "redis://:CANARY@host:6379/0",
        "postgres://user:CANARY@host/db",
    ],
)
def test_a_credential_never_reaches_a_log(line):
    assert "CANARY" not in redact(line)


def test_ordinary_lines_are_left_alone():
    line = "order 42 OPEN: 10 RELIANCE at 2,950.05, spinning: no, tokenizer ready"
    assert redact(line) == line


def test_a_ring_of_keys_keeps_its_order():
    ring = env.keyring(f"{env.make_data_key()},k0:{env.make_data_key().split(':')[1]}")
    assert list(ring) == ["k1", "k0"]
    assert all(len(key) == 32 for key in ring.values())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "eighty", "PORT='eighty' is not a whole number"),
        ("TARAZU_DEBUG", "maybe", "TARAZU_DEBUG='maybe' is neither yes nor no"),
        ("DATABASE_URL", "mysql://db/x", "PostgreSQL is the only database supported"),
        ("REDIS_URL", "http://x", "REDIS_URL must start with redis://"),
        ("TARAZU_DATA_KEY", "k1:short", "TARAZU_DATA_KEY must be id:base64 of 32 bytes"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path, name, value, says):
    given = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=CHECKOUT,
        env=given | {"TARAZU_VAR": str(tmp_path), name: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_production_refuses_to_start_without_a_secret(tmp_path):
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME"}}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=CHECKOUT,
        env=kept | {"TARAZU_VAR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "trading.settings.prod"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: DJANGO_SECRET_KEY is not set: give servers a random secret of 50 characters or more\n"
    )


def test_the_migrations_read_off_the_folders_are_those_that_django_knows():
    from django.db.migrations.loader import MigrationLoader

    from trading.desk.doorway import our_migrations

    found = our_migrations()
    apps = {app for app, _ in found}
    assert found == {key for key in MigrationLoader(None).disk_migrations if key[0] in apps}
    assert {"accounts", "execution", "marketdata", "portfolio", "risk", "strategies"} <= apps
