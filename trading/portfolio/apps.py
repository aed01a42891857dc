from django.apps import AppConfig


class PortfolioConfig(AppConfig):
    """What we own, moved by fills alone."""

    name = "trading.portfolio"
    label = "portfolio"
    default_auto_field = "django.db.models.BigAutoField"
