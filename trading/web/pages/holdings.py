"""The holdings of the chosen portfolio as risk."""

from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from strategies.reports.holdings import HoldingsRisk, holdings_risk
from strategies.reports.studies import matrix_of
from trading.domain.formatting import UNKNOWN, number, quantity, signed
from trading.web.access import signed_in
from trading.web.desk import DeskRequest


@require_safe
@signed_in
def holdings(request: DeskRequest) -> HttpResponse:
    """How much lies in how few names, how alike they move, and where the risk comes from."""
    if request.desk.portfolio is None:
        return render(request, "dashboard/no_portfolio.html")
    found = holdings_risk(request.desk.portfolio, now=request.desk.now)
    matrix = [] if found.correlation is None else matrix_of(_names(found), found.correlation.tolist())
    return render(
        request,
        "backtests/holdings.html",
        {"found": found, "tiles": _tiles(found), "rows": _rows(found), "matrix": matrix},
    )


def _names(found: HoldingsRisk) -> list[str]:
    return [one.ticker for one in found.priced]


def _pct(value: float | None) -> str:
    return UNKNOWN if value is None else f"{number(Decimal(str(round(value, 6))), 1)} %"


def _plain(value: float | None) -> str:
    return UNKNOWN if value is None else number(Decimal(str(round(value, 6))), 2)


def _tiles(found: HoldingsRisk) -> list[tuple[str, str, str]]:
    return [
        ("Gross value", f"₹{number(found.gross, 0)}", f"net ₹{number(found.net, 0)}"),
        ("Largest name", _pct(found.largest_pct), f"the five largest {_pct(found.top_five_pct)}"),
        ("As if in", _plain(found.effective), "equal names (1 over the sum of squared shares)"),
        ("Mean correlation", _plain(found.mean_correlation), f"of daily returns over {found.days} common days"),
        ("Volatility", _pct(found.volatility_pct), "a year, of the gross value"),
        ("Diversification", _plain(found.diversification_ratio), "1 is none; for holdings that are all long"),
    ]


def _rows(found: HoldingsRisk) -> list[dict[str, Any]]:
    shares = {one.symbol: at for at, one in enumerate(found.priced)}
    rows = []
    for one in found.holdings:
        at = shares.get(one.symbol)
        weight = None if at is None else 100 * float(found.weights[at])
        risk = None if at is None or found.risk_shares is None else 100 * float(found.risk_shares[at])
        rows.append(
            {
                "ticker": one.ticker, "quantity": quantity(one.quantity),
                "close": UNKNOWN if one.close is None else number(one.close, 2),
                "value": UNKNOWN if one.value is None else signed(one.value, 0),
                "weight": _pct(weight), "risk": _pct(risk if risk is None or risk == risk else None),
            }
        )  # fmt: skip
    return rows
