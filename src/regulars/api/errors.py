"""The shape of every refusal: `{"error", "code", "details"}`. No traceback, no echo of input."""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from ninja.errors import HttpError, ValidationError

log = logging.getLogger(__name__)

# What a status means to a program; a more exact code may be given where the error is raised.
CODES = {
    400: "bad_request",
    401: "not_signed_in",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}
_WORDS = {
    401: "Sign in first (POST /api/session), or send Authorization: Bearer <token>.",
    404: "There is nothing here.",
    500: "Something went wrong on our side. It has been logged; try again.",
    503: "The database does not answer at the moment. Try again in a few seconds.",
}


class ApiError(Exception):
    """A refusal with its status: `message` for people, `code` for programs, `details` is JSON."""

    def __init__(self, status: int, message: str, *, code: str = "", details: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or CODES[status]
        self.details = details


def refusal(status: int, message: str = "", *, code: str = "", details: Any = None) -> JsonResponse:
    """The response for a refusal; without a message the usual words of the status."""
    body = {
        "error": message or _WORDS.get(status, "The request was refused."),
        "code": code or CODES.get(status, "error"),
        "details": details,
    }
    response = JsonResponse(body, status=status)
    if status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="regulars"'
    return response


def response_for(error: BaseException) -> JsonResponse:
    """The refusal that `error` stands for; what nobody foresaw is logged, and says nothing."""
    for kind, answer in _ANSWERS.items():
        if isinstance(error, kind):
            return answer(error)
    log.error("Unexpected error in the API", exc_info=error)
    return refusal(500)


def _of_http_error(error: Any) -> JsonResponse:
    # ninja hides what the parser said behind its own 400.
    if isinstance(error.__cause__, ApiError):
        return _of_api_error(error.__cause__)
    if error.status_code == 400 and error.__cause__ is not None:
        return refusal(400, "The request body is not valid JSON.", code="malformed_json")
    return refusal(error.status_code, "" if error.status_code == 401 else error.message)


def _of_api_error(error: Any) -> JsonResponse:
    return refusal(error.status, error.message, code=error.code, details=error.details)


def _of_validation_error(error: Any) -> JsonResponse:
    details = [
        {"path": path_of(_inside(problem["loc"])), "problem": str(problem["msg"])} for problem in error.errors
    ]
    return refusal(422, "Some values are not valid: see details.", details=details)


def _inside(location: Any) -> Any:
    """Without where the value came from; in a body also without our own argument's name."""
    return location[2:] if location[0] == "body" else location[1:]


def path_of(location: Any) -> str:
    """`templates[0].body` of `("templates", 0, "body")`."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".") or "body"


def _of_outage(error: Any) -> JsonResponse:
    log.error("The database does not answer", exc_info=error)
    return refusal(503)


_ANSWERS: dict[type[BaseException], Callable[[Any], JsonResponse]] = {
    ApiError: _of_api_error,
    ValidationError: _of_validation_error,
    HttpError: _of_http_error,
    Http404: lambda _: refusal(404),
    PermissionDenied: lambda _: refusal(403, "You may not do this."),
    RequestDataTooBig: lambda _: refusal(413, "The request body is too large."),
    SuspiciousOperation: lambda _: refusal(400, "The request is malformed."),
    BadRequest: lambda _: refusal(400, "The request is malformed."),
    OperationalError: _of_outage,
}


def spoken(view: Callable[..., Any]) -> Callable[..., Any]:
    """`view` with every failure, also the framework's own 405, in our shape."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def answer_async(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            answering: Callable[..., Awaitable[HttpResponseBase]] = view
            try:
                return _with_body(request, await answering(request, *args, **kwargs))
            except Exception as error:  # noqa: BLE001  every failure must be spoken
                return response_for(error)

        answer_async.csrf_exempt = True  # type: ignore[attr-defined]
        return answer_async

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return _with_body(request, view(request, *args, **kwargs))
        except Exception as error:  # noqa: BLE001  every failure must be spoken
            return response_for(error)

    # The API checks the origin instead: see `callers.is_cross_site`.
    answer.csrf_exempt = True  # type: ignore[attr-defined]
    return answer


def _with_body(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if response.status_code != 405:
        return response
    spoken_response = refusal(405, f"{request.method} is not possible here: see the Allow header.")
    spoken_response["Allow"] = response["Allow"]
    return spoken_response
