from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.ownership import OwnedQuerySet
from strategies.contracts.schema import ContractBody, parse_contract


class ContractQuerySet(OwnedQuerySet):
    def for_user(self, user) -> "ContractQuerySet":
        """The user's own contracts and those that come with the desk."""
        return self.filter(Q(owner=user.pk) | Q(owner=None))


class StrategyContract(models.Model):
    """An idea of what is worth trading, under one name. What it says lies in its versions."""

    OWNER = "owner"

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="contracts"
    )
    slug = models.SlugField(max_length=60)
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ContractQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "slug"], name="contract_slug_once", nulls_distinct=False)
        ]

    def __str__(self) -> str:
        return self.name


class VersionQuerySet(OwnedQuerySet):
    def for_user(self, user) -> "VersionQuerySet":
        return self.filter(Q(contract__owner=user.pk) | Q(contract__owner=None))


class ContractVersion(models.Model):
    """What a contract said at one time. Published once, never edited: trades must be able to name it for ever."""

    OWNER = "contract__owner"

    contract = models.ForeignKey(StrategyContract, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    body = models.JSONField()
    content_hash = models.CharField(max_length=64)
    published_at = models.DateTimeField()
    published_by = models.CharField(max_length=150)

    objects = VersionQuerySet.as_manager()

    class Meta:
        ordering = ["contract", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["contract", "number"], name="contract_version_once"),
            models.UniqueConstraint(fields=["contract", "content_hash"], name="contract_content_once"),
        ]

    def __str__(self) -> str:
        return f"{self.contract} v{self.number}"

    def parsed(self) -> ContractBody:
        """The body, read and checked."""
        return parse_contract(self.body)
