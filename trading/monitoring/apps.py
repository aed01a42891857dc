from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """Is everything alive, and who is told when it is not."""

    name = "trading.monitoring"
    label = "monitoring"
    default_auto_field = "django.db.models.BigAutoField"
