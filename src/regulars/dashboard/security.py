"""What a browser may load: nothing but our own files. Django 5.2 has no middleware for it."""

from collections.abc import Callable

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
    """Middleware: every answer carries the pages' policy, unless its view has set another one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault(HEADER, PAGE_POLICY)
        return response
