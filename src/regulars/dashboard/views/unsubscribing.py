"""The page behind the link in a message: without login, without cookies, without tracking.

A GET changes nothing, for programs that follow links before people do. A wrong link gets the same
plain page whatever is wrong with it, and costs no look into the database.
"""

from typing import Any

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from regulars.dashboard import guest_words, words
from regulars.lib import clock
from regulars.runs import rights

# A field of our own form: whatever else is posted is a mail program's one click.
CHOICES = "choices"


@csrf_exempt
def page(request: HttpRequest, token: str) -> HttpResponse:
    """Show the choices; a POST takes them, or stops the channel of the link at one click (RFC 8058).

    No form token is asked for: whoever has the link may do what it does, and nothing else acts for them.
    """
    reader = rights.reader_of(token)
    if reader is None:
        return _unknown(request)
    if request.method != "POST":
        return _show(request, reader)
    form = _form(request)
    if CHOICES not in form:
        rights.stop(reader, clock.now())
        return _discreet(HttpResponse("Unsubscribed.\n", content_type="text/plain; charset=utf-8"))
    return _choose(request, reader, form)


def _unknown(request: HttpRequest) -> HttpResponse:
    """Nobody is known, so the browser says which language."""
    accepted = request.headers.get("Accept-Language", "").split(",")
    language = guest_words.language_of(accepted)
    shown = {"language": language, "texts": guest_words.texts_of(language)}
    response = render(request, "dashboard/unsubscribe_unknown.html", shown, status=404)
    patch_vary_headers(response, ["Accept-Language"])
    return _discreet(response)


def _form(request: HttpRequest) -> Any:
    """What was posted; what cannot be read is a click all the same: in doubt we do not write."""
    try:
        return request.POST
    except (MultiPartParserError, BadRequest, SuspiciousOperation):
        return {}


def _choose(request: HttpRequest, reader: rights.Reader, form: Any) -> HttpResponse:
    wanted = [] if "none" in form else form.getlist("channel")
    rights.choose(reader, wanted, clock.now(), _wording(reader))
    return _show(request, reader, saved=True)


def _wording(reader: rights.Reader) -> str:
    return guest_words.texts_of(_language(reader))["wording"].format(name=reader.organization.name)


def _show(request: HttpRequest, reader: rights.Reader, *, saved: bool = False) -> HttpResponse:
    allowed = rights.allowed_channels(reader)
    offered = [channel for channel in words.CHANNELS if channel in {*allowed, reader.link.channel}]
    language = _language(reader)
    shown = {
        "language": language,
        "texts": guest_words.texts_of(language),
        "organization": reader.organization,
        "wording": _wording(reader),
        "channels": [(channel, _by(channel, language), channel in allowed) for channel in offered],
        "stopped": not allowed,
        "saved": saved,
    }
    return _discreet(render(request, "dashboard/unsubscribe.html", shown))


def _by(channel: str, language: str) -> str:
    return guest_words.texts_of(language)["by"].format(channel=guest_words.channel(channel, language))


def _language(reader: rights.Reader) -> str:
    """The guest's, else the organization's, else English."""
    return guest_words.language_of((reader.customer.language, reader.organization.language))


def _discreet(response: HttpResponse) -> HttpResponse:
    """Kept by nobody, found by nobody, told to nobody."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response
