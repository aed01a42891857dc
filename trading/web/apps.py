from django.apps import AppConfig


class WebConfig(AppConfig):
    """The joined screens and their sockets."""

    name = "trading.web"
    label = "web"
    default_auto_field = "django.db.models.BigAutoField"
