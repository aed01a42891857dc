"""The story all settings share. What differs between a laptop and a server is read from the environment."""

import os
import sys
from datetime import timedelta

from csp.constants import NONCE, NONE, SELF

from trading.desk.paths import Folders
from trading.settings import env
from trading.settings.env import BASE_DIR
from trading.settings.kernels import kernels_of
from trading.settings.logs import logging_config

# --- Where things lie -------------------------------------------------------------------------------------------------
VAR = env.folder("TARAZU_VAR", BASE_DIR / "var")
FOLDERS = Folders(VAR)
if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(kernels_of(VAR))

# --- Who we are -------------------------------------------------------------------------------------------------------
DEBUG = False
INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "django_htmx",
    "csp",
    "trading.audit",
    "trading.realtime",
    "trading.monitoring",
    "accounts",
    "trading.marketdata",
    "trading.portfolio",
    "risk",
    "strategies",
    "execution",
    "trading.web",
    "trading.api",
    "trading.desk",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "trading.urls"
ASGI_APPLICATION = "trading.asgi.application"
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SILENCED_SYSTEM_CHECKS: list[str] = []
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ]
        },
    }
]

# --- Language and time: stored in UTC, shown in IST -------------------------------------------------------------------
LANGUAGE_CODE = "en-in"
TIME_ZONE = "Asia/Kolkata"
USE_TZ = True
USE_I18N = True
USE_THOUSAND_SEPARATOR = False  # rupees are grouped by trading_format, the Indian way

# --- PostgreSQL and Valkey. Unset: the embedded ones, which `manage.py` starts and finds ------------------------------
DATABASE_URL = env.text("DATABASE_URL", FOLDERS.database_url)
REDIS_URL = env.redis_url(env.text("REDIS_URL", FOLDERS.redis_url))
REDIS_PREFIX = env.text("TARAZU_REDIS_PREFIX", "tarazu")
EMBEDDED = env.database(DATABASE_URL)["HOST"] == str(FOLDERS.postgres_sockets)
DATABASES = {"default": env.database(DATABASE_URL)}
DATABASES["default"] |= {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True, "ATOMIC_REQUESTS": False}
DATABASES["default"]["OPTIONS"] |= {
    "pool": {"min_size": 1, "max_size": env.number("TARAZU_DB_POOL", 24, low=1, high=200), "timeout": 5},
    "connect_timeout": 5,
    # What is prepared is planned once a connection and not anew for its first parameters: the plans are the same, and
    # making one takes longer than carrying it out. Nothing an order waits for is worth compiling. What a desk reads is
    # in memory: a row is found by its index also while its table is small, for the plan is kept while the table grows.
    "options": "-c plan_cache_mode=force_generic_plan -c jit=off -c seq_page_cost=0.1 -c random_page_cost=0.1",
    # Only what asks for it has its plan kept (`trading.statements`); the ORM writes its values into its statements.
    "prepare_threshold": sys.maxsize,
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": f"{REDIS_PREFIX}:cache",
    }
}
CHANNEL_LAYERS = {
    "default": {
        # PubSub keeps idle websockets; the list-based layer drops them after redis-py's five-second read time-out.
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [{"address": REDIS_URL, "socket_timeout": None, "health_check_interval": 30}],
            "prefix": REDIS_PREFIX,
        },
    }
}

# --- Celery: rings the bell, never holds the work ---------------------------------------------------------------------
CELERY_BROKER_URL = env.celery_broker(REDIS_URL)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
    "health_check_interval": 30,
    "global_keyprefix": f"{REDIS_PREFIX}:celery:",
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "work"
CELERY_TASK_ROUTES = {
    "execution.refresh_instruments": {"queue": "work"},  # seconds of work: not before orders
    "execution.forget_deliveries": {"queue": "work"},
    "execution.*": {"queue": "orders"},
    "strategies.*": {"queue": "scans"},
    "research.*": {"queue": "research"},
    "backfill.*": {"queue": "research"},  # minutes of waiting for a broker
}
QUEUES = ["work", "orders", "scans"]
RESEARCH_QUEUE = "research"  # backtests and sweeps: a worker of its own, so that no trade ever waits behind one
RESEARCH_THREADS = env.number("TARAZU_RESEARCH_THREADS", 2, low=1, high=64)
SCAN_THREADS = env.number("TARAZU_SCAN_THREADS", min(4, env.cores()), low=1, high=64)  # cores of one scan, at most
CELERY_TASK_PUBLISH_RETRY = False  # the row is the work: a lost ring is found by the sweep, a waiting trade by nobody
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TIMEZONE = TIME_ZONE
CELERY_ENABLE_UTC = True

# --- People -----------------------------------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
SIGNUP_OPEN = env.flag("TARAZU_SIGNUP", False)
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "accounts.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_EMAIL_NOTIFICATIONS = False
ALLAUTH_TRUSTED_PROXY_COUNT = env.number("TARAZU_PROXIES", 0, low=0, high=5)
MFA_ADAPTER = "accounts.adapters.MFAAdapter"  # TOTP secrets and recovery seeds are encrypted at rest
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Tarazu"
SESSION_COOKIE_AGE = int(timedelta(hours=12).total_seconds())
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
DEFAULT_FROM_EMAIL = env.text("TARAZU_FROM_EMAIL", "tarazu@localhost")

# --- The outside of the house -----------------------------------------------------------------------------------------
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
STATIC_URL = "/static/"
STATIC_ROOT = env.folder("TARAZU_STATIC_ROOT", BASE_DIR / "staticfiles")
STATICFILES_DIRS = [path for path in [BASE_DIR / "static"] if path.is_dir()]
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# --- API --------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "trading.api.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "trading.api.pagination.NewestFirst",
    "PAGE_SIZE": 50,
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "trading.api.problems.handler",
    "COERCE_DECIMAL_TO_STRING": True,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tarazu API",
    "DESCRIPTION": "Positions, orders, signals and the dashboard of one trading desk.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "OrderState": "execution.states.OrderState",
        "SignalState": "strategies.models.Signal.State",
        "IntentState": "execution.models.Intent.State",
        "GroupState": "execution.models.Group.State",
        "BacktestState": "strategies.models.BacktestRun.State",
        "BacktestKind": "strategies.models.BacktestRun.Kind",
        "ContractStage": "strategies.models.Stage",
        "DeploymentState": "strategies.models.Deployment.State",
        "DeploymentWorkStyle": "execution.models.DeploymentWork.Style",
        "LargeOrderStyle": "execution.models.ParentOrder.Style",
        "OrderType": "trading.domain.orders.OrderType",
        "Reason": "trading.domain.orders.Reason",
        "Side": "trading.domain.orders.Side",
        "Product": "trading.domain.orders.Product",
    },
}

# --- The desk ---------------------------------------------------------------------------------------------------------
PORT = env.number("PORT", 8000, low=1, high=65535)
BIND = env.text("TARAZU_BIND", "127.0.0.1")
WEB_PROCESSES = env.number("TARAZU_WEB_PROCESSES", 1, low=1, high=32)  # one takes in 200 alerts a second
SANDBOX_PORT = env.number("TARAZU_SANDBOX_PORT", 7401, low=1, high=65535)
# Where brokers send people back after they signed in; must be the address registered with the broker's app.
BROKER_REDIRECT_URI = env.text("BROKER_REDIRECT_URI", "")
SANDBOX_URL = env.text("SANDBOX_URL", f"http://127.0.0.1:{SANDBOX_PORT}").rstrip("/")
# The addresses that were registered with the broker for orders, and a page that answers with its caller's address.
BROKER_STATIC_IPS = env.words("TARAZU_STATIC_IPS", ())
EGRESS_URL = env.text("TARAZU_EGRESS_URL", "")
SANDBOX_SPEED = env.number("TARAZU_SANDBOX_SPEED", 60, low=1, high=600)
# Whose option chains are kept while the market trades, once a minute, and of how many expiries each.
OPTION_CHAINS = env.words("TARAZU_OPTION_CHAINS", ("NSE:NIFTY50-INDEX", "NSE:NIFTYBANK-INDEX"))
OPTION_CHAIN_EXPIRIES = env.number("TARAZU_OPTION_CHAIN_EXPIRIES", 2, low=1, high=6)
HOOK_DELIVERY_DAYS = env.number("TARAZU_HOOK_DAYS", 90, low=2, high=3650)  # deliveries of hooks are kept so long
LIVE_TRADING = env.flag("TARAZU_LIVE", False)
LOG_LEVEL = env.text("TARAZU_LOG_LEVEL", "INFO").upper()
LOGGING = logging_config(json_lines=False, level=LOG_LEVEL)
