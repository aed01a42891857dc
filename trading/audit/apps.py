from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Who did what, when and why: an append-only chain."""

    name = "trading.audit"
    label = "audit"
    default_auto_field = "django.db.models.BigAutoField"
