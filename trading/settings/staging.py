"""A rehearsal on servers: as production, but never with live money."""

from trading.settings.prod import *  # noqa: F403

LIVE_TRADING = False
SECURE_HSTS_SECONDS = 0  # a rehearsal's certificate must not pin browsers
SECURE_HSTS_PRELOAD = False
