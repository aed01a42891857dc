from django.apps import AppConfig


class RiskConfig(AppConfig):
    """How much is allowed."""

    name = "risk"
    label = "risk"
    default_auto_field = "django.db.models.BigAutoField"
