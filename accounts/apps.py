from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People, their keys, and their accounts at brokers."""

    name = "accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
