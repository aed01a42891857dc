from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.api_keys import revoke
from accounts.console import ReadOnlyAdmin
from accounts.models import ApiKey, BrokerAccount, User

admin.site.site_header = "Tarazu operator console"
admin.site.site_title = "Tarazu console"
admin.site.index_title = "What needs attention"
admin.site.unregister(Authenticator)


@admin.register(User)
class DeskUserAdmin(UserAdmin):
    """People are added and retired here; they are never deleted, because their trades are not."""

    list_display = ("username", "email", "is_active", "is_staff", "last_login")
    ordering = ("-date_joined",)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnlyAdmin):
    """Second factors: that they exist, not what they are."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    list_filter = ("type",)
    search_fields = ("user__username",)
    hidden = ("data",)


@admin.register(BrokerAccount)
class BrokerAccountAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "owner",
        "broker",
        "environment",
        "price_source",
        "feed",
        "auth_state",
        "auth_cause",
        "token_expires_at",
    )
    list_select_related = ("owner", "price_source")
    list_filter = ("environment", "auth_state", "broker")
    search_fields = ("name", "owner__username", "broker_user_id")
    hidden = ("app_secret_sealed", "access_token_sealed")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    list_display = ("prefix", "name", "owner", "scope", "last_used_at", "expires_at", "revoked_at")
    list_select_related = ("owner",)
    list_filter = ("scope", ("revoked_at", admin.EmptyFieldListFilter))
    search_fields = ("prefix", "name", "owner__username")
    hidden = ("digest",)
    actions = ("revoke",)

    @admin.action(description="Revoke", permissions=["operate"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        actor, now = request.user.get_username(), timezone.now()
        self.press(request, keys, lambda key: revoke(key_id=key.pk, actor=actor, now=now), told="Revoked")
