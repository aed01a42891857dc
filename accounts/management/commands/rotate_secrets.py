"""Bring every sealed value under the current data key. Safe while the desk runs, and to repeat."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from accounts.models import BrokerAccount
from accounts.secrets import reseal
from trading.audit.record import record

SEALED = (("app_secret_sealed", "app_secret"), ("access_token_sealed", "access_token"))


class Command(BaseCommand):
    help = "Seal broker secrets and tokens anew with the first key of TARAZU_DATA_KEY; the others may go afterwards."

    def handle(self, *args: Any, **options: Any) -> None:
        moved = 0
        for pk in BrokerAccount.objects.order_by("pk").values_list("pk", flat=True):
            with transaction.atomic():
                account = BrokerAccount.objects.select_for_update().get(pk=pk)
                changed = {}
                for field, purpose in SEALED:
                    sealed = getattr(account, field)
                    if sealed is None:
                        continue
                    anew = reseal(sealed, owner_id=account.owner_id, purpose=purpose)
                    if anew != bytes(sealed):
                        changed[field] = anew
                if changed:
                    BrokerAccount.objects.filter(pk=pk).update(**changed)
                    moved += 1
        if moved:
            record("secrets.rotated", actor="operator", owner_id=None, subject="accounts", accounts=moved)
        plural = "s" if moved != 1 else ""
        self.stdout.write(f"{moved} account{plural} sealed anew" if moved else "nothing to do: all is under one key")
