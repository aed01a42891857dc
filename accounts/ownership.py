"""Rows have owners. Whatever a person asks for is reached through here and nowhere else."""

from typing import ClassVar

from django.db import models


class OwnedQuerySet(models.QuerySet):
    """Rows of a model that names, in OWNER, the way to the user who owns them."""

    def for_user(self, user) -> "OwnedQuerySet":
        """The rows of this user, and nothing of anybody else's: not even for staff, who have the console."""
        return self.filter(**{self.model.OWNER: user.pk})


class Owned(models.Model):
    """A row that belongs to somebody."""

    OWNER: ClassVar[str] = "owner"

    objects = OwnedQuerySet.as_manager()

    class Meta:
        abstract = True
