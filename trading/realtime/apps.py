from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    """Events to open pages, after the commit."""

    name = "trading.realtime"
    label = "realtime"
    default_auto_field = "django.db.models.BigAutoField"
