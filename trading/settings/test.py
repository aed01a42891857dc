"""Tests: the same PostgreSQL and Valkey as the desk, on a throw-away cluster, one database for each worker.

The servers are named here and started by `tests/conftest.py`; with TEST_DATABASE_URL and TEST_REDIS_URL they are yours.
"""

import os
import tempfile
from pathlib import Path

from trading.settings.kernels import kernels_of

# Chosen once, by the first process that reads this; its workers inherit the name.
RUN = Path(os.environ.setdefault("TARAZU_TEST_RUN", f"{tempfile.gettempdir()}/tarazu-test-{os.getpid()}"))
os.environ["TARAZU_VAR"] = str(RUN)
for _name in ("DATABASE_URL", "REDIS_URL"):
    os.environ.pop(_name, None)  # a test never meets the desk's own data
    if _given := os.environ.get(f"TEST_{_name}", ""):
        os.environ[_name] = _given
# Each worker has a database of Valkey and a prefix of its own (channels are not kept apart by database).
_worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
_number = int(_worker.removeprefix("gw")) + 1 if _worker.startswith("gw") else 0
os.environ["TARAZU_REDIS_PREFIX"] = f"test-{_worker}"
if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(kernels_of(Path(__file__).resolve().parents[2] / "var"))

from trading.settings import env  # noqa: E402
from trading.settings.base import *  # noqa: E402, F403
from trading.settings.base import CACHES, CHANNEL_LAYERS, DATABASES, REDIS_PREFIX  # noqa: E402
from trading.settings.base import REDIS_URL as _SERVER_URL  # noqa: E402
from trading.settings.logs import logging_config  # noqa: E402

SECRET_KEY = "for-tests-alone-0123456789-0123456789-0123456789-abcdef"  # noqa: S105
DATA_KEYS = {"k1": bytes(range(32))}
ALLOWED_HOSTS = ["testserver", "127.0.0.1", "localhost"]
DATABASES["default"]["OPTIONS"].pop("pool")  # a test's threads open and close plain connections
REDIS_URL = f"{_SERVER_URL.split('?')[0]}?db={_number}"
CACHES["default"]["LOCATION"] = REDIS_URL
CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]["address"] = REDIS_URL  # type: ignore[index]
CELERY_BROKER_URL = env.celery_broker(REDIS_URL)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick, and no secret is kept here
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
LOGGING = logging_config(json_lines=False, level="WARNING")
assert REDIS_PREFIX.startswith("test-")
