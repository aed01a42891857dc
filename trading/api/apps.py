from django.apps import AppConfig


class ApiConfig(AppConfig):
    """What every endpoint shares."""

    name = "trading.api"
    label = "api"
    default_auto_field = "django.db.models.BigAutoField"
