"""The API as one object: its routers, who may call, one shape of refusal, honest documentation."""

from functools import cached_property
from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, re_path, register_converter
from django.urls.resolvers import URLResolver
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema

import regulars
from regulars.api import (
    audit,
    automations,
    callbacks,
    consents,
    cron,
    health,
    organization,
    personal_data,
    previewing,
    providers,
    running,
    runs,
    session,
    streaming,
    suppressions,
    upserts,
    webhooks,
)
from regulars.api.callers import BearerToken, SessionCookie
from regulars.api.errors import refusal, response_for, spoken
from regulars.api.parsing import StrictParser


class Segment:
    """One part of a path, possibly empty: a missing id reaches the view, which has words for it."""

    regex = "[^/]*"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(Segment, "segment")


class Api(NinjaAPI):
    """django-ninja, with every failure in our shape, also for paths that do not exist."""

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        patterns = super()._get_urls()
        for pattern in patterns:
            if isinstance(pattern, URLPattern):
                pattern.callback = spoken(pattern.callback)
        return [*patterns, re_path(r"", spoken(_nothing_here))]

    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:
        """The documentation, which nothing changes while the process runs."""
        return self._documentation

    @cached_property
    def _documentation(self) -> OpenAPISchema:
        """With parameters said plainly. Kept, for it takes a second."""
        schema = super().get_openapi_schema()
        for path in schema["paths"].values():
            for operation in path.values():
                for parameter in operation["parameters"]:
                    _say_plainly(parameter["schema"])
        return schema


def _say_plainly(schema: dict[str, Any]) -> None:
    """A parameter may be absent but never null: say the one type it has."""
    if "anyOf" in schema:
        (only,) = (part for part in schema.pop("anyOf") if part.get("type") != "null")
        schema.update(only)
    if schema.get("default", "") is None:
        del schema["default"]


def _nothing_here(_request: HttpRequest, **_kwargs: Any) -> HttpResponseBase:
    return refusal(404, "There is no such address in the API. See /api/docs.")


def _refuse(_request: HttpRequest, error: Any) -> Any:
    return response_for(error)


api = Api(
    title="Regulars",
    version=regulars.__version__,
    description="Marketing automation that restaurants run themselves.",
    auth=[BearerToken(), SessionCookie()],
    parser=StrictParser(),
    urls_namespace="api",
)
for _kind in (Exception, Http404, HttpError, ValidationError):
    api.add_exception_handler(_kind, _refuse)
_ROOMS = (
    running,
    automations,
    previewing,
    runs,
    streaming,
    upserts,
    consents,
    personal_data,
    suppressions,
    webhooks,
    providers,
    callbacks,
    organization,
    audit,
    session,
    cron,
    health,
)
for _room in _ROOMS:
    api.add_router("", _room.router)
