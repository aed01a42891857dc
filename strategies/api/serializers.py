"""Contracts, their versions and deployments as programs see them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from strategies.models import ContractVersion, Deployment, Stage, StageMove, StrategyContract
from trading.api.serializers import InstantField, StrictSerializer


class VersionBriefSerializer(serializers.ModelSerializer):
    stage = serializers.SerializerMethodField()
    published_at = InstantField()

    class Meta:
        model = ContractVersion
        fields = ("id", "number", "content_hash", "stage", "published_at", "published_by")
        read_only_fields = fields

    def get_stage(self, version: ContractVersion) -> str:
        standing = getattr(version, "standing", None)
        return standing.stage if standing else Stage.RESEARCH


class ContractSerializer(serializers.ModelSerializer):
    house = serializers.SerializerMethodField(help_text="comes with the desk; only operators move it")
    versions = VersionBriefSerializer(many=True)
    created_at = InstantField()

    class Meta:
        model = StrategyContract
        fields = ("id", "slug", "name", "house", "created_at", "versions")
        read_only_fields = fields

    def get_house(self, contract: StrategyContract) -> bool:
        return contract.owner_id is None


class FindingSerializer(serializers.Serializer):
    code = serializers.CharField()
    name = serializers.CharField()
    wanted = serializers.CharField()
    got = serializers.CharField()
    passed = serializers.BooleanField()


class StageMoveSerializer(serializers.ModelSerializer):
    figures = FindingSerializer(many=True)
    at = InstantField()

    class Meta:
        model = StageMove
        fields = ("from_stage", "to_stage", "actor", "reason", "figures", "policy", "waived", "at")
        read_only_fields = fields


class VersionSerializer(VersionBriefSerializer):
    contract = serializers.IntegerField(source="contract_id")
    body = serializers.DictField(help_text="the contract as published")
    moves = StageMoveSerializer(many=True)

    class Meta:
        model = ContractVersion
        fields = (
            "id", "number", "content_hash", "stage", "published_at", "published_by", "contract", "body", "moves",
        )  # fmt: skip
        read_only_fields = fields


class DeploymentSerializer(serializers.ModelSerializer):
    version = serializers.IntegerField(source="version_id")
    contract = serializers.CharField(source="version.contract.slug")
    number = serializers.IntegerField(source="version.number")
    portfolio = serializers.IntegerField(source="portfolio_id")
    universe = serializers.CharField(source="universe.name")
    created_at = InstantField()
    stopped_at = InstantField(allow_null=True)

    class Meta:
        model = Deployment
        fields = (
            "id", "contract", "version", "number", "portfolio", "universe", "parameters", "state", "created_at",
            "stopped_at",
        )  # fmt: skip
        read_only_fields = fields


@extend_schema_field({"type": "object", "additionalProperties": True})
class BodyField(serializers.Field):
    """A contract as a JSON object; the schema of contracts judges it."""

    default_error_messages = {"not_an_object": "Send the contract as an object."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_an_object")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class PublishSerializer(StrictSerializer):
    slug = serializers.RegexField(r"^[a-z0-9][a-z0-9-]{0,59}$", help_text="a new one, or that of a contract of yours")
    body = BodyField(required=False)
    yaml = serializers.CharField(required=False, max_length=64_000, help_text="the same as text, instead of body")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("body" in attrs) == ("yaml" in attrs):
            raise serializers.ValidationError("Send the contract as body or as yaml.", code="body_or_yaml")
        return attrs


class ValidateSerializer(StrictSerializer):
    body = BodyField(required=False)
    yaml = serializers.CharField(required=False, max_length=64_000)
    rule = serializers.CharField(required=False, max_length=4_000, trim_whitespace=False)
    kind = serializers.ChoiceField(choices=["condition", "number"], default="condition")
    timeframe = serializers.CharField(default="5m", max_length=8)
    parameters = serializers.DictField(child=serializers.FloatField(), default=dict)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if sum(name in attrs for name in ("body", "yaml", "rule")) != 1:
            raise serializers.ValidationError("Send one of body, yaml and rule.", code="one_of_three")
        return attrs


class FaultSerializer(serializers.Serializer):
    code = serializers.CharField()
    path = serializers.CharField(allow_blank=True)
    message = serializers.CharField()
    position = serializers.IntegerField(allow_null=True, help_text="character of the rule, from 0")
    suggestion = serializers.CharField(allow_null=True)


class JudgementSerializer(serializers.Serializer):
    valid = serializers.BooleanField()
    error = FaultSerializer(allow_null=True)
    content_hash = serializers.CharField(allow_null=True)
    words = serializers.ListField(child=serializers.CharField(), help_text="what must hold, in words")
    not_live = serializers.ListField(child=serializers.CharField(), help_text="codes of what is not done live yet")


class MoveSerializer(StrictSerializer):
    to = serializers.ChoiceField(choices=Stage.choices)
    reason = serializers.CharField(min_length=5, max_length=500)
    waive = serializers.BooleanField(default=False, help_text="operators only: go on although a gate does not pass")


class DeploySerializer(StrictSerializer):
    version = serializers.IntegerField(min_value=1, max_value=2**53)
    portfolio = serializers.IntegerField(min_value=1, max_value=2**53)
    universe = serializers.CharField(max_length=60)
    parameters = serializers.DictField(child=serializers.FloatField(), default=dict)
