"""Servers: every secret is given, every page is encrypted, every line is JSON. What is missing stops the start."""

from trading.settings import env
from trading.settings.base import *  # noqa: F403
from trading.settings.base import LOG_LEVEL, STORAGES
from trading.settings.logs import logging_config, redact

SECRET_KEY = env.text("DJANGO_SECRET_KEY", hint="give servers a random secret of 50 characters or more")
DATA_KEYS = env.keyring(env.text("TARAZU_DATA_KEY", hint="k1:$(head -c 32 /dev/urandom | base64)"))
env.text("DATABASE_URL", hint="postgres://user:password@host:5432/tarazu")
env.text("REDIS_URL", hint="redis://:password@host:6379/0")
ALLOWED_HOSTS = env.text("TARAZU_HOSTS", hint="the names the desk is reached by, joined by commas").split(",")
CSRF_TRUSTED_ORIGINS = env.words("TARAZU_ORIGINS", tuple(f"https://{host}" for host in ALLOWED_HOSTS))
EMBEDDED = False

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.flag("TARAZU_TLS_PROXY", True) else None
SECURE_SSL_REDIRECT = env.flag("TARAZU_TLS_REDIRECT", True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = env.number("TARAZU_HSTS_SECONDS", 31_536_000, low=0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
WHITENOISE_USE_FINDERS = False
STORAGES = STORAGES | {"staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}}
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_PORT = env.number("EMAIL_PORT", 587, low=1, high=65535)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", True)
EMAIL_TIMEOUT = 10
LOGGING = logging_config(json_lines=True, level=LOG_LEVEL)

if SENTRY_DSN := env.text("SENTRY_DSN", ""):
    import json

    import sentry_sdk

    sentry_sdk.init(
        dsn=SENTRY_DSN,
        send_default_pii=False,
        include_local_variables=False,
        before_send=lambda event, hint: json.loads(redact(json.dumps(event, default=str))),
    )
