"""Accounts by program: which there are, and a paper account more."""

from decimal import Decimal
from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import BrokerAccount, User
from accounts.selectors import accounts_of
from execution.brokers.paper_account import LEAST, MOST, MOST_SLIPPAGE_BPS, open_paper_account
from trading.api.idempotency import once
from trading.api.openapi import KEY_PARAMETER, problems_of
from trading.api.serializers import InstantField, StrictSerializer
from trading.api.views import DeskEndpoint
from trading.portfolio.api.serializers import PortfolioSerializer


class AccountSerializer(serializers.ModelSerializer):
    """An account as it stands. What opens it is in no answer."""

    price_source = serializers.CharField(
        source="price_source.name", default=None, allow_null=True, help_text="whose prices a paper account lives on"
    )
    token_expires_at = InstantField(allow_null=True)

    class Meta:
        model = BrokerAccount
        fields = (
            "id", "name", "broker", "environment", "price_source", "feed", "auth_state", "auth_cause",
            "token_expires_at",
        )  # fmt: skip
        read_only_fields = fields


class PaperAccountAsk(StrictSerializer):
    name = serializers.CharField(max_length=60)
    price_source = serializers.IntegerField(min_value=1, help_text="id of the account whose prices it lives on")
    opening_cash = serializers.DecimalField(
        max_digits=14, decimal_places=2, min_value=LEAST, max_value=MOST, help_text="rupees"
    )
    slippage_bps = serializers.DecimalField(
        max_digits=6, decimal_places=2, min_value=0, max_value=MOST_SLIPPAGE_BPS, default=Decimal(0),
        help_text="against every order at the market",
    )  # fmt: skip
    volume_share_pct = serializers.DecimalField(
        max_digits=5, decimal_places=2, min_value=0, max_value=100, allow_null=True, default=None,
        help_text="of what trades, at most so much goes to this account; null: an order is filled at once",
    )  # fmt: skip


def _open(request: Request, ask: dict[str, Any], key: str) -> Response:
    portfolio = open_paper_account(
        owner=cast(User, request.user), name=ask["name"], price_source_id=ask["price_source"],
        opening_cash=ask["opening_cash"], slippage_bps=ask["slippage_bps"], volume_share_pct=ask["volume_share_pct"],
        key=key,
    )  # fmt: skip
    return Response(PortfolioSerializer(portfolio).data, status=status.HTTP_201_CREATED)


class Accounts(DeskEndpoint):
    @extend_schema(
        operation_id="accounts_list", tags=["accounts"], summary="Your accounts at brokers and on paper",
        responses={200: AccountSerializer(many=True), **problems_of(401, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response(AccountSerializer(accounts_of(request.user), many=True).data)


class PaperAccounts(DeskEndpoint):
    @extend_schema(
        operation_id="paper_accounts_create", tags=["accounts"], summary="Open a paper account",
        description="On the prices of another account of yours, with a portfolio of its name. Its orders stay on the "
        "desk: they are filled by those prices with the fill model of the backtests, and pay the broker's charges.",
        parameters=[KEY_PARAMETER], request=PaperAccountAsk,
        responses={201: PortfolioSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        ask = PaperAccountAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        return once(request, lambda key: _open(request, ask.validated_data, key))
