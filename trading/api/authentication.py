"""Who is calling: a program with a key, or a page with a session (whose writes carry a CSRF token)."""

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.api_keys import authenticate
from accounts.models import ApiKey, User

SCHEME = "bearer"


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer tz_<prefix>_<secret>`. `request.auth` is then the key."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != SCHEME.encode():
            return None
        try:
            (token,) = words[1:]
            key = authenticate(token.decode("ascii"), now=timezone.now())
        except ValueError:  # no token, several, or not ASCII
            key = None
        if key is None:
            raise AuthenticationFailed("The API key is unknown, expired or revoked.", code="api_key_refused")
        return key.owner, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
