"""What we ask allauth to do otherwise: nobody signs up unasked, and second factors lie sealed in the database."""

import base64

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.http import HttpRequest

from accounts.secrets import seal, unseal

NOBODY = 0  # allauth seals before it knows the row; the purpose alone binds the value


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.SIGNUP_OPEN)


class MFAAdapter(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return base64.b64encode(seal(text, owner_id=NOBODY, purpose="second-factor")).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(base64.b64decode(encrypted_text), owner_id=NOBODY, purpose="second-factor")
