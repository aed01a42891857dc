"""Which commands need the embedded servers, and the hold a command keeps on them while it runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from trading.desk.errors import DeskError
from trading.desk.servers import Servers
from trading.settings import env
from trading.settings.env import BASE_DIR

WITHOUT_SERVERS = {
    "", "help", "version", "check", "diffsettings", "collectstatic", "findstatic", "compilemessages", "makemessages",
    "startapp", "startproject", "spectacular", "sandbox", "desk", "test",
}  # fmt: skip
MAKES_TABLES = {"migrate", "makemigrations", "showmigrations", "sqlmigrate", "squashmigrations", "flush", "dbshell"}


@contextmanager
def servers_for(argv: list[str]) -> Iterator[None]:
    """Hold the embedded servers while a command runs, when it needs any and none are named in the settings."""
    command = argv[1] if len(argv) > 1 else ""
    if command.startswith("-") or command in WITHOUT_SERVERS or {"-h", "--help"} & set(argv):
        yield
        return
    if command == "backtest" and any(word.partition("=")[0] == "--candles" for word in argv):
        yield  # the candles come from a file
        return
    if servers_are_given():
        yield
        return
    with Servers(env.folder("TARAZU_VAR", BASE_DIR / "var")) as servers:
        os.environ.update(servers.environment())
        if command not in MAKES_TABLES:
            ensure_tables()
        yield


def servers_are_given() -> bool:
    """True with servers of one's own, False with the embedded ones; half of each is a mistake."""
    given = [bool(env.text(name, "")) for name in ("DATABASE_URL", "REDIS_URL")]
    if any(given) and not all(given):
        raise DeskError("only one of DATABASE_URL and REDIS_URL is set: set both for servers of your own, or neither")
    return all(given)


def ensure_tables() -> None:
    """A brand-new database gets its tables before the first command that reads them; an old one is told of.

    DeskError where migrations wait: they belong to a start of the desk, not to whichever command comes by.
    """
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=5) as talk:
        found = talk.execute("SELECT to_regclass('django_migrations')").fetchone()
        known = found is not None and found[0] is not None
        applied = set(talk.execute("SELECT app, name FROM django_migrations").fetchall()) if known else set()
    if known:
        if waiting := sorted(our_migrations() - applied):
            app, name = waiting[0]
            raise DeskError(
                f"the database is older than the code ({len(waiting)} migrations wait, {app} {name} first): "
                "start the desk once (make run), or run manage.py migrate"
            )
        return
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", interactive=False, verbosity=0)


def our_migrations() -> set[tuple[str, str]]:
    """App and name of every migration of the desk, read off its folders: Django need not be loaded for that."""
    files = (
        path for pattern in ("*/migrations/0*.py", "trading/*/migrations/0*.py") for path in BASE_DIR.glob(pattern)
    )
    return {(path.parent.parent.name, path.stem) for path in files}
