from django.apps import AppConfig


class ApiConfig(AppConfig):
    """What every endpoint shares."""

    name = "trading.api"
    label = "api"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from trading.api import schema  # noqa: F401 - registers itself with drf-spectacular
