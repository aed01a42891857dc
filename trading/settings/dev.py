"""The embedded desk: production in small. Pages look as they do on a server unless TARAZU_DEBUG=1."""

from trading.settings import env
from trading.settings.base import *  # noqa: F403
from trading.settings.base import FOLDERS, PORT

DEBUG = env.flag("TARAZU_DEBUG", False)
SECRET_KEY = env.kept_secret("DJANGO_SECRET_KEY", FOLDERS.secrets / "django_secret_key", env.make_secret_key)
DATA_KEYS = env.keyring(env.kept_secret("TARAZU_DATA_KEY", FOLDERS.secrets / "data_key", env.make_data_key))
HOSTS = env.words("TARAZU_HOSTS")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", *HOSTS]
CSRF_TRUSTED_ORIGINS = env.words("TARAZU_ORIGINS", tuple(f"http://{host}:{PORT}" for host in HOSTS))
