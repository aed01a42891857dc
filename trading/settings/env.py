"""Typed reads from the environment. A wrong setting is one line that says what to do.

A secret may come as `NAME` or as a file named by `NAME_FILE`, the way container platforms hand them over.
A `.env` file beside `manage.py` is read once, and never overrides the real environment.
"""

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parents[2]
REQUIRED = object()
_reader = environ.FileAwareEnv()
_dotenv_read = False


def load_dotenv() -> None:
    """Read `.env` into the environment, once; what is already set stays."""
    global _dotenv_read
    if not _dotenv_read and (BASE_DIR / ".env").is_file():
        environ.Env.read_env(str(BASE_DIR / ".env"))
    _dotenv_read = True


def _given(name: str) -> bool:
    load_dotenv()
    return bool(os.environ.get(name, "").strip()) or bool(os.environ.get(f"{name}_FILE", "").strip())


def _read(name: str, default: Any, hint: str) -> str | None:
    if not _given(name):
        if default is REQUIRED:
            raise ImproperlyConfigured(f"{name} is not set: {hint or 'set it in the environment or in .env'}")
        return None
    try:
        return cast(str, _reader.str(name)).strip()
    except (OSError, environ.ImproperlyConfigured) as error:
        raise ImproperlyConfigured(f"{name} cannot be read: {error}") from error


def text(name: str, default: Any = REQUIRED, *, hint: str = "") -> str:
    value = _read(name, default, hint)
    return cast(str, default) if value is None else value


def flag(name: str, default: bool) -> bool:
    value = _read(name, default, "")
    if value is None:
        return default
    if value.lower() in {"1", "true", "yes", "on"}:
        return True
    if value.lower() in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is neither yes nor no: use 1 or 0")


def number(name: str, default: int, *, low: int | None = None, high: int | None = None) -> int:
    value = _read(name, default, "")
    if value is None:
        return default
    try:
        found = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number") from None
    if (low is not None and found < low) or (high is not None and found > high):
        raise ImproperlyConfigured(f"{name}={found} is out of range: use {low} to {high}")
    return found


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """A comma-separated list."""
    value = _read(name, default, "")
    return list(default) if value is None else [word.strip() for word in value.split(",") if word.strip()]


def folder(name: str, default: Path) -> Path:
    value = _read(name, default, "")
    return (default if value is None else Path(value).expanduser()).resolve()


def database(url: str, *, name: str = "DATABASE_URL") -> dict[str, Any]:
    """A Django database from `postgres://user:password@host:port/database`, or `…@/database?host=/socket/folder`."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"{name} must start with postgres:// (PostgreSQL is the only database supported)")
    options = dict(parse_qsl(parts.query))
    try:
        port = parts.port
    except ValueError:
        raise ImproperlyConfigured(f"{name}: the port is not a number") from None
    found = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or unquote(parts.hostname or ""),
        "PORT": str(options.pop("port", None) or port or ""),
        "OPTIONS": options,
    }
    if not found["NAME"]:
        raise ImproperlyConfigured(f"{name} names no database: postgres://user:password@host:5432/tarazu")
    return found


def redis_url(url: str, *, name: str = "REDIS_URL") -> str:
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ImproperlyConfigured(f"{name} must start with redis://, rediss:// or unix:// (Valkey or Redis)")
    return url


def celery_broker(url: str) -> str:
    """The same server in Celery's spelling: `unix:///path?db=1` is `redis+socket:///path?virtual_host=1` there."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    number_of = dict(parse_qsl(parts.query)).get("db", "0")
    return f"redis+socket://{parts.path}?virtual_host={number_of}"


def kept_secret(name: str, path: Path, make: Any) -> str:
    """A secret from the environment, else from its file: made on first use, readable by us alone."""
    if _given(name):
        return text(name)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(make())
            try:
                os.link(draft, path)  # the first of two starting processes wins, the other reads what it wrote
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{path} cannot be written or read ({error.strerror}): give the folder to this user, or set TARAZU_VAR"
        ) from error


def make_secret_key() -> str:
    return secrets.token_urlsafe(50)


def make_data_key() -> str:
    return "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()


def keyring(value: str, *, name: str = "TARAZU_DATA_KEY") -> dict[str, bytes]:
    """Key id → 32 bytes, from `id:base64[,id:base64…]`; the first encrypts, all decrypt."""
    ring: dict[str, bytes] = {}
    for entry in value.split(","):
        key_id, colon, encoded = entry.strip().rpartition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            key = b""
        if len(key) != 32:
            raise ImproperlyConfigured(f"{name} must be id:base64 of 32 bytes: k1:$(head -c 32 /dev/urandom | base64)")
        ring[key_id if colon else "k1"] = key
    return ring
