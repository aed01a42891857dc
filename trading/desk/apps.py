from importlib import import_module

from django.apps import AppConfig


class DeskConfig(AppConfig):
    name = "trading.desk"
    label = "desk"
    verbose_name = "Desk"

    def ready(self) -> None:
        import_module("trading.celery")  # tasks bind to this app, in whichever process they are rung from
        import_module("trading.checks")
