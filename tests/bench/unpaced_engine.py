"""An engine whose accounts have no order rate: for measuring the desk itself, against our own exchange alone."""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trading.settings.dev")

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from risk.order_rate import POOLS, RATES  # noqa: E402

RATES |= {"order": (1e6, 1_000_000), "exit": (1e6, 1_000_000)}
POOLS |= {"shared": (1e6, 1_000_000), "kept": (1e6, 1_000_000)}
call_command("engine", account=[int(one) for one in sys.argv[1:]])
