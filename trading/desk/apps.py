from importlib import import_module

from django.apps import AppConfig

from trading.domain.heap import release_collector


class DeskConfig(AppConfig):
    name = "trading.desk"
    label = "desk"
    verbose_name = "Desk"

    def ready(self) -> None:
        import_module("trading.celery")  # tasks bind to this app, in whichever process they are rung from
        import_module("trading.checks")
        release_collector()  # this is the last of the apps: what is loaded now stays
