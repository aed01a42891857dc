"""The collector waits while a process loads, and goes on whatever happens."""

import gc

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from trading.domain.heap import hold_collector, loading


def test_the_collector_waits_while_modules_are_loaded_and_leaves_them_alone_afterwards() -> None:
    with loading():
        assert not gc.isenabled()
        kept: list[list[int]] = [[] for _ in range(1_000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(kept)
    gc.unfreeze()


def test_a_load_that_fails_leaves_the_collector_running() -> None:
    with pytest.raises(ImportError), loading():
        raise ImportError("no such broker")
    assert gc.isenabled()
    gc.unfreeze()


def test_what_the_command_line_holds_back_runs_again_once_all_apps_are_loaded() -> None:
    hold_collector()
    apps.get_app_config("desk").ready()
    assert gc.isenabled()
    gc.unfreeze()


def test_a_worker_does_not_start_on_settings_that_are_not_safe(settings) -> None:
    settings.DEBUG = settings.LIVE_TRADING = True
    with pytest.raises(SystemCheckError, match="E001"):
        call_command("worker")
