"""What a browser may load: nothing but our own files. Django 5.2 has no middleware for it."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

HEADER = "Content-Security-Policy"

# No nonces and no hashes, because there is no inline script or style.
PAGE_POLICY = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "img-src 'self' data:; "
    "font-src 'self'; "
    "connect-src 'self'; "
    "frame-src 'self'; "
    "form-action 'self'; "
    "base-uri 'none'; "
    "frame-ancestors 'none'"
)
# The text of an e-mail, shown in a frame of ours. E-mail is styled inline, which the policy of the
# pages forbids (and a `srcdoc` frame would inherit it): so it is a document of its own that may be
# styled but may neither run, load nor submit anything, and has no origin.
EMAIL_POLICY = (
    "default-src 'none'; "
    "style-src 'unsafe-inline'; "
    "img-src data:; "
    "form-action 'none'; "
    "base-uri 'none'; "
    "frame-ancestors 'self'; "
    "sandbox"
)


class ContentSecurityPolicy:
    """Middleware: every answer carries the pages' policy, unless its view has set another one.

    Both sync and async: a sync-only one would keep a thread for each caller that waits for a run.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.waits = iscoroutinefunction(get_response)
        if self.waits:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self.waits:
            return self._later(request)
        return _with_policy(self.get_response(request))

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        return _with_policy(await self.get_response(request))


def _with_policy(response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault(HEADER, PAGE_POLICY)
    return response
