"""Words of the API's description that many endpoints share."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from trading.api.idempotency import HEADER
from trading.api.serializers import ProblemSerializer

KEY_PARAMETER = OpenApiParameter(
    HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    required=True,
    description="8 to 64 letters, digits or . _ : - · new for each wish; the same key and body get the same answer.",
)


def problems_of(*codes: int) -> dict[Any, Any]:
    """The schema of the errors an endpoint tells."""
    return {
        (code, "application/problem+json"): OpenApiResponse(ProblemSerializer, description="Problem details")
        for code in codes
    }
