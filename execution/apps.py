from django.apps import AppConfig


class ExecutionConfig(AppConfig):
    """Orders, fills, groups, brokers: the only floor that talks to a broker."""

    name = "execution"
    label = "execution"
    default_auto_field = "django.db.models.BigAutoField"
