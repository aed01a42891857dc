"""What must hold before the desk may be trusted with money; `manage.py check` and every start ask."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

OLDEST_POSTGRES = 150000


@register(Tags.security)
def no_debug_with_live_money(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.DEBUG and settings.LIVE_TRADING:
        return [Error("DEBUG is on while live trading is allowed.", hint="Unset TARAZU_DEBUG.", id="tarazu.E001")]
    return []


@register(Tags.security)
def keys_are_present(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    ring = getattr(settings, "DATA_KEYS", {})
    if not ring or any(len(key) != 32 for key in ring.values()):
        return [Error("There is no key for broker tokens.", hint="Set TARAZU_DATA_KEY.", id="tarazu.E002")]
    return []


@register(Tags.database)
def postgres_is_new_enough(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Asked with `check --database default` and by `migrate`: it needs a connection."""
    wrong: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        if connection.vendor != "postgresql":
            wrong.append(Error(f"{alias} is {connection.vendor}.", hint="Only PostgreSQL works.", id="tarazu.E003"))
            continue
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version_num")
            version = int(cursor.fetchone()[0])
        if version < OLDEST_POSTGRES:
            hint = "Use PostgreSQL 15 or newer."
            wrong.append(Error(f"PostgreSQL {version // 10000} is too old.", hint=hint, id="tarazu.E004"))
    return wrong
