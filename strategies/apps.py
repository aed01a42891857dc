from django.apps import AppConfig


class StrategiesConfig(AppConfig):
    """What is worth trading."""

    name = "strategies"
    label = "strategies"
    default_auto_field = "django.db.models.BigAutoField"
