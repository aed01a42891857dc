from django.apps import AppConfig


class MarketdataConfig(AppConfig):
    """What the market said, and how sure we are."""

    name = "trading.marketdata"
    label = "marketdata"
    default_auto_field = "django.db.models.BigAutoField"
