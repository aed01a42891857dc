"""JSON as it arrives from outside: small, finite, without tricks."""

import codecs
import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser

MAX_BODY_BYTES = 16 * 1024


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"
    default_detail = f"A request body may have {MAX_BODY_BYTES} bytes."


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) != len(pairs):
        raise ValueError("a name occurs twice")
    return seen


class StrictJSONParser(JSONParser):
    """JSON objects up to 16 KB; no NaN, no Infinity, no name twice, no bottomless nesting."""

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return read_object(stream.read(MAX_BODY_BYTES + 1))


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises BodyTooLarge or ParseError for everything else."""
    if len(raw) > MAX_BODY_BYTES:
        raise BodyTooLarge
    try:
        text = codecs.decode(raw, "utf-8")
        body = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeats)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ParseError(f"The body is not valid JSON: {reason}.", code="malformed_json") from None
    if not isinstance(body, dict):
        raise ParseError("The body must be a JSON object.", code="malformed_json")
    return body
