"""manage.py eventchain: seal what was said about orders, walk the chain of seals, and print its newest digest."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from execution.models import EventSeal
from execution.services.events_seal import events_keep


class Command(BaseCommand):
    help = (
        "Seal the events of orders and verify the chain. Keep the printed digest elsewhere: it dates the whole chain."
    )

    def handle(self, *_: Any, **__: Any) -> None:
        broken = events_keep(actor="eventchain")
        if broken is not None:
            raise CommandError(f"events {broken.after_event + 1} to {broken.through_event} are not what was sealed")
        newest = EventSeal.objects.first()
        told = f"intact through event {newest.through_event}: {newest.digest}" if newest else "nothing is sealed yet"
        self.stdout.write(told)
