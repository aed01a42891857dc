"""Contracts, their steps and their deployments: one's own, and the house's to read."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.ownership import OwnedQuerySet
from strategies.api.serializers import (
    ContractSerializer,
    DeploymentSerializer,
    DeploySerializer,
    JudgementSerializer,
    MoveSerializer,
    PublishSerializer,
    StageMoveSerializer,
    ValidateSerializer,
    VersionSerializer,
)
from strategies.check import check_rule
from strategies.contracts.fields import ContractError
from strategies.contracts.lifecycle import ask_for_live, stage_move
from strategies.contracts.live import lacks_of
from strategies.contracts.publish import publish_contract, unknown_instruments
from strategies.contracts.schema import parse_contract, read_yaml
from strategies.deploy import deploy_for, pause_deployment, resume_deployment, stop_deployment
from strategies.models import ContractVersion, Deployment, Stage, StrategyContract
from trading.api.problems import problem
from trading.api.serializers import ProblemSerializer
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotAllowed, NotFound

ACTS = {"pause": pause_deployment, "resume": resume_deployment, "stop": stop_deployment}


def problems_of(*codes: int) -> dict[Any, Any]:
    return {
        (code, "application/problem+json"): OpenApiResponse(ProblemSerializer, description="Problem details")
        for code in codes
    }


def fault(error: ContractError) -> dict[str, Any]:
    return {
        "code": error.code, "path": error.path, "message": error.message, "position": error.position,
        "suggestion": error.suggestion,
    }  # fmt: skip


@extend_schema_view(
    get=extend_schema(
        operation_id="contracts_list", tags=["strategies"], summary="Your contracts and the desk's",
        responses={200: ContractSerializer(many=True), **problems_of(401, 429)},
    )
)  # fmt: skip
class Contracts(DeskEndpoint, ListAPIView):
    serializer_class = ContractSerializer
    filterset_fields = ("slug",)

    def get_queryset(self) -> OwnedQuerySet:
        contracts = StrategyContract.objects.for_user(self.request.user)
        return contracts.prefetch_related("versions__standing").order_by("pk")

    @extend_schema(
        operation_id="contracts_publish", tags=["strategies"], summary="Publish a contract, or its next version",
        description="The same words are the same version: sending them again changes nothing and answers 200.",
        request=PublishSerializer,
        responses={200: VersionSerializer, 201: VersionSerializer, **problems_of(400, 401, 403, 413, 415, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        read = PublishSerializer(data=request.data)
        read.is_valid(raise_exception=True)
        given = read.validated_data
        known = ContractVersion.objects.filter(contract__owner=request.user.pk, contract__slug=given["slug"])
        before = set(known.values_list("pk", flat=True))
        try:
            body = given["body"] if "body" in given else read_yaml(given["yaml"], "yaml")
            missing = unknown_instruments(parse_contract(body))
            if missing:
                raise ContractError("UNKNOWN_INSTRUMENT", "rules", f"this desk does not know {', '.join(missing)}")
            version = publish_contract(
                owner=request.user, slug=given["slug"], body=body, actor=request.user.get_username()
            )
        except ContractError as error:
            return problem(status=422, code=error.code, detail=str(error), fault=fault(error))
        code = status.HTTP_200_OK if version.pk in before else status.HTTP_201_CREATED
        return Response(VersionSerializer(version).data, status=code)


class Validate(DeskEndpoint):
    @extend_schema(
        operation_id="contracts_validate", tags=["strategies"], summary="Judge a contract or one rule; nothing is kept",
        request=ValidateSerializer, responses={200: JudgementSerializer, **problems_of(400, 401, 413, 415, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        read = ValidateSerializer(data=request.data)
        read.is_valid(raise_exception=True)
        given = read.validated_data
        if "rule" in given:
            told = check_rule(
                given["rule"], kind=given["kind"], timeframe=given["timeframe"], parameters=given["parameters"]
            )
            error = told["error"] and {"path": "", **told["error"]}
            return Response(
                {"valid": error is None, "error": error, "content_hash": None, "words": told["words"], "not_live": []}
            )
        try:
            body = parse_contract(given["body"] if "body" in given else read_yaml(given["yaml"], "yaml"))
        except ContractError as refused:
            return Response(
                {"valid": False, "error": fault(refused), "content_hash": None, "words": [], "not_live": []}
            )
        lacks = [lack.code for lack in lacks_of(body)]
        return Response(
            {"valid": True, "error": None, "content_hash": body.content_hash, "words": [], "not_live": lacks}
        )


class ContractDetail(DeskEndpoint):
    @extend_schema(
        operation_id="contracts_retrieve", tags=["strategies"], summary="One contract and its versions",
        responses={200: ContractSerializer, **problems_of(401, 404, 429)},
    )  # fmt: skip
    def get(self, request: Request, contract_id: int) -> Response:
        found = StrategyContract.objects.for_user(request.user).filter(pk=contract_id).first()
        if found is None:
            raise NotFound("UNKNOWN_CONTRACT", "There is no such contract.")
        return Response(ContractSerializer(found).data)


class VersionDetail(DeskEndpoint):
    @extend_schema(
        operation_id="versions_retrieve", tags=["strategies"], summary="What a version says, and its steps",
        responses={200: VersionSerializer, **problems_of(401, 404, 429)},
    )  # fmt: skip
    def get(self, request: Request, version_id: int) -> Response:
        return Response(VersionSerializer(_version(request, version_id)).data)


class VersionMove(DeskEndpoint):
    @extend_schema(
        operation_id="versions_move", tags=["strategies"], summary="Take a version one step further",
        description="201: done. 202: LIVE was asked of an operator. 422 GATE: `findings` say what lacks.",
        request=MoveSerializer,
        responses={201: StageMoveSerializer, 202: None, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request, version_id: int) -> Response:
        version = _version(request, version_id)
        read = MoveSerializer(data=request.data)
        read.is_valid(raise_exception=True)
        given = read.validated_data
        standing = getattr(version, "standing", None)
        at = standing.stage if standing else Stage.RESEARCH
        try:
            if given["to"] == Stage.LIVE and at == Stage.PAPER and not request.user.is_staff:
                ask_for_live(version_id=version.pk, user=_caller(request), reason=given["reason"])
                return Response(status=status.HTTP_202_ACCEPTED)
            move = stage_move(
                version_id=version.pk, to=Stage(given["to"]), user=_caller(request), actor=request.user.get_username(),
                reason=given["reason"], waive=given["waive"],
            )  # fmt: skip
        except NotAllowed as refused:
            if refused.code != "GATE":
                raise
            return problem(status=422, code=refused.code, detail=refused.message, findings=refused.numbers["findings"])
        newest = move or version.moves.first()
        return Response(StageMoveSerializer(newest).data if newest else None, status=status.HTTP_201_CREATED)


@extend_schema_view(
    get=extend_schema(
        operation_id="deployments_list", tags=["strategies"], summary="What is at work, newest first",
        responses={200: DeploymentSerializer(many=True), **problems_of(401, 429)},
    )
)  # fmt: skip
class Deployments(DeskEndpoint, ListAPIView):
    serializer_class = DeploymentSerializer
    filterset_fields = ("state", "portfolio")

    def get_queryset(self) -> OwnedQuerySet:
        mine = Deployment.objects.for_user(self.request.user)
        return mine.select_related("version__contract", "universe").order_by("-pk")

    @extend_schema(
        operation_id="deployments_create", tags=["strategies"], summary="Put a version to work",
        description="Sending the same again answers with the deployment that is there.",
        request=DeploySerializer,
        responses={201: DeploymentSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        read = DeploySerializer(data=request.data)
        read.is_valid(raise_exception=True)
        given = read.validated_data
        made = deploy_for(
            user=_caller(request), portfolio_id=given["portfolio"], version_id=given["version"],
            universe_name=given["universe"], parameters=given["parameters"],
        )  # fmt: skip
        return Response(DeploymentSerializer(made).data, status=status.HTTP_201_CREATED)


class DeploymentAct(DeskEndpoint):
    @extend_schema(
        operation_id="deployments_act", tags=["strategies"], summary="Pause, resume or stop a deployment",
        description="Repeating it changes nothing. What is open keeps its stop and its exits.",
        request=None, responses={200: DeploymentSerializer, **problems_of(401, 403, 404, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request, deployment_id: int, act: str) -> Response:
        ACTS[act](deployment_id=deployment_id, actor=request.user.get_username(), user=_caller(request))
        row = Deployment.objects.for_user(request.user).select_related("version__contract", "universe")
        return Response(DeploymentSerializer(row.get(pk=deployment_id)).data)


def _caller(request: Request) -> User:
    """Who asks; the door lets nobody in who is not signed in."""
    assert isinstance(request.user, User)
    return request.user


def _version(request: Request, version_id: int) -> ContractVersion:
    found = ContractVersion.objects.for_user(request.user).filter(pk=version_id).first()
    if found is None:
        raise NotFound("UNKNOWN_VERSION", "There is no such version.")
    return found
