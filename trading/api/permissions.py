"""What a caller may do. A key reads; only a key with the scope to trade changes anything."""

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import ApiKey


class ScopeAllows(BasePermission):
    """Refuses writes to keys that may only read. A person at a page may do what the page offers."""

    message = "This API key may read but not trade."
    code = "scope_too_small"

    def has_permission(self, request: Request, view: APIView) -> bool:
        key = request.auth
        if not isinstance(key, ApiKey) or request.method in SAFE_METHODS:
            return True
        return key.scope == ApiKey.Scope.TRADE
