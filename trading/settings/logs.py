"""What the processes say: human lines on a console, JSON lines on servers, and no secret in either."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

_NAMES = (
    r"authorization|access_token|refresh_token|id_token|token|auth_code|authcode|secret|secret_key|secretkey"
    r"|app_?id_?hash|password|passwd|pin|totp|otp|api_?key|cookie|sessionid|csrftoken|csrfmiddlewaretoken"
)
_PAIR = re.compile(
    rf"""(?ix) (?P<name> ["']? \b [\w-]*? (?:{_NAMES}) \b ["']? \s* [=:] \s* ["']? (?:bearer\s+|basic\s+)? )
         (?P<value> [^\s"'&,;)}}\]]+ )"""
)
_URL_PASSWORD = re.compile(r"(?P<head>\w+://[^\s:/@]*:)[^\s@/]+@")
_KNOWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def redact(line: str) -> str:
    """The line with the value of everything that looks like a credential replaced by `***`."""
    line = _URL_PASSWORD.sub(r"\g<head>***@", line)
    return _PAIR.sub(r"\g<name>***", line)


class Redacting:
    """Redacts after formatting, so that arguments, extras and tracebacks are covered too."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))  # type: ignore[misc]


class HumanFormatter(Redacting, logging.Formatter):
    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name}: {message}", "%H:%M:%S", style="{")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in record.__dict__.items() if name not in _KNOWN},
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str, ensure_ascii=False)


class JsonFormatter(Redacting, _Json):
    pass


def logging_config(*, json_lines: bool, level: str) -> dict[str, Any]:
    formatter = "trading.settings.logs.JsonFormatter" if json_lines else "trading.settings.logs.HumanFormatter"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
            "uvicorn": {"handlers": [], "level": "INFO", "propagate": True},
            "uvicorn.access": {"handlers": [], "level": "WARNING", "propagate": True},
            "httpx": {"level": "WARNING"},  # at INFO it writes whole addresses, with their query
            "httpcore": {"level": "WARNING"},
            "websockets": {"level": "WARNING"},
            "numba": {"level": "WARNING"},
            # One line a second for every bell that is rung and answered would bury what happened.
            "celery.beat": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.worker.request": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
        },
    }
