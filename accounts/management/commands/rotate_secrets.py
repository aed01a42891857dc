"""Bring every sealed value under the current data key. Safe while the desk runs, and to repeat."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand
from django.db import models, transaction

from accounts.secrets import reseal
from trading.audit.record import record


def sealed_models() -> Iterator[type[models.Model]]:
    """Models that name their sealed fields: `SEALED = ((field, purpose), …)`, where `{pk}` stands for the row's."""
    return (model for model in apps.get_models() if getattr(model, "SEALED", ()))


class Command(BaseCommand):
    help = "Seal every secret and token anew with the first key of TARAZU_DATA_KEY; the others may go afterwards."

    def handle(self, *args: Any, **options: Any) -> None:
        moved = {model._meta.verbose_name: self.reseal_rows(model) for model in sealed_models()}
        total = sum(moved.values())
        if total:
            told = {str(name).replace(" ", "_"): count for name, count in moved.items()}
            record("secrets.rotated", actor="operator", owner_id=None, subject="secrets", **told)
        said = [f"{count} {name}{'s' if count != 1 else ''}" for name, count in moved.items() if count]
        self.stdout.write(f"{', '.join(said)} sealed anew" if said else "nothing to do: all is under one key")

    @staticmethod
    def reseal_rows(model: Any) -> int:
        moved = 0
        for pk, owner_id in model.objects.order_by("pk").values_list("pk", model.OWNER):
            with transaction.atomic():
                row = model.objects.select_for_update().get(pk=pk)
                changed = {}
                for field, purpose in model.SEALED:
                    sealed = getattr(row, field)
                    if sealed is None:
                        continue
                    anew = reseal(sealed, owner_id=owner_id, purpose=purpose.format(pk=pk))
                    if anew != bytes(sealed):
                        changed[field] = anew
                if changed:
                    model.objects.filter(pk=pk).update(**changed)
                    moved += 1
        return moved
