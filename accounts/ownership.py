"""Rows have owners. Whatever a person asks for is reached through here and nowhere else."""

from typing import Any, Self, TypeVar

from django.db import models

_Model = TypeVar("_Model", bound=models.Model, covariant=True)


class OwnedQuerySet(models.QuerySet[_Model]):
    """Rows of a model that names, in OWNER, the way to the user who owns them."""

    def for_user(self, user: Any) -> Self:
        """The rows of this user, and nothing of anybody else's: not even for staff, who have the console."""
        return self.filter(**{self.model.OWNER: user.pk})  # type: ignore[attr-defined]


class Owned(models.Model):
    """A row that belongs to somebody."""

    OWNER = "owner"

    objects = OwnedQuerySet.as_manager()

    class Meta:
        abstract = True
