"""Reading requests strictly: what cannot be kept as it was sent is refused, not repaired."""

import json
import math
from typing import Annotated, Any

from django.http import HttpRequest
from ninja.parser import Parser
from pydantic import Field, StringConstraints

from regulars.api.errors import ApiError

BIGGEST_ID = 2**63 - 1
DEEPEST = 50
# An id of a bigint column: a larger number would be an error of the database, not a missing row.
Id = Annotated[int, Field(ge=1, le=BIGGEST_ID)]
# PostgreSQL keeps no NUL character.
Text = Annotated[str, StringConstraints(pattern=r"^[^\u0000]*$")]


class StrictParser(Parser):
    """JSON only, and only JSON that can be kept: no NaN, no NUL, no half of a surrogate pair."""

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type != "application/json":
            raise ApiError(415, "Send JSON, with Content-Type: application/json.")
        parsed = json.loads(request.body.decode("utf-8"), parse_constant=_refuse_constant)
        _check(parsed)
        return parsed


def _refuse_constant(name: str) -> None:
    raise ApiError(400, f"{name} is not JSON.", code="malformed_json")


def _check(parsed: Any) -> None:
    """Refuse what the database cannot keep, and nesting that nobody writes by hand."""
    waiting = [(parsed, 0)]
    while waiting:
        part, depth = waiting.pop()
        if depth > DEEPEST:
            raise ApiError(422, f"The document is nested more than {DEEPEST} levels deep.")
        if isinstance(part, dict):
            waiting += [(inner, depth + 1) for pair in part.items() for inner in pair]
        elif isinstance(part, list):
            waiting += [(inner, depth + 1) for inner in part]
        elif isinstance(part, str) and ("\0" in part or not _is_encodable(part)):
            raise ApiError(422, "Text must not contain NUL or an unpaired surrogate character.")
        elif isinstance(part, float) and math.isinf(part):
            raise ApiError(422, "A number is too large.")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
