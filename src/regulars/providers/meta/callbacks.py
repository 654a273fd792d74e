"""What Meta tells of WhatsApp: statuses, what guests write, who wants no marketing, and of templates and
accounts (`news`). Signed with SHA-256.

Source: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from regulars.providers import callbacks
from regulars.providers.base import Report
from regulars.providers.callbacks import Callbacks, Event, Fact, RefusedError, Request
from regulars.providers.classes import ErrorClass, plain
from regulars.providers.meta import guests, news
from regulars.providers.meta.answers import refusal_of

REPORTS = {
    "sent": Report.ACCEPTED,
    "delivered": Report.DELIVERED,
    "read": Report.READ,
    "played": Report.READ,
    "failed": Report.FAILED,
}
# The fields about messages and guests; the others are about templates and accounts.
CONVERSATIONS = ("", "messages", "user_preferences")


class MetaCallbacks(Callbacks):
    label = "Meta"
    # Meta's own limit; several statuses come in one request.
    most_bytes = 3 * 1024 * 1024
    needs = {"app_secret": "App dashboard › Settings › Basic › App secret"}
    where = (
        "App dashboard › WhatsApp › Configuration; subscribe to messages, user_preferences, account_update, "
        "business_capability_update, phone_number_quality_update, template_category_update, "
        "message_template_status_update and message_template_quality_update"
    )

    def greet(self, request: Request, secrets: Mapping[str, str]) -> str:
        """The handshake: our own verify token comes back to us, the challenge goes back to Meta."""
        query = request.query
        wanted = (secrets.get("verify_token", ""), secrets.get(callbacks.PASSWORD, ""))
        given = query.get("hub.verify_token", "")
        if query.get("hub.mode") != "subscribe" or not any(callbacks.same(given, one) for one in wanted):
            raise RefusedError("The verify token is another one.")
        return query.get("hub.challenge", "")

    def check(
        self, request: Request, secrets: Mapping[str, str], now: datetime, certificate: bytes = b""
    ) -> None:
        """HMAC-SHA256 of the raw body under the app secret."""
        given = request.headers.get("x-hub-signature-256", "")
        if not given:
            raise RefusedError("X-Hub-Signature-256 is missing.", 401)
        key = secrets.get("app_secret", "")
        wanted = hmac.digest(key.encode(), request.body, hashlib.sha256).hex()
        if not key or not callbacks.same(given, f"sha256={wanted}"):
            raise RefusedError("X-Hub-Signature-256 does not fit: check app_secret.")

    def events(self, request: Request) -> list[Event]:
        document = callbacks.mapped(request.document())
        return [
            event
            for entry in callbacks.listed(document.get("entry"))
            for change in callbacks.listed(entry.get("changes"))
            for event in _of_change(
                entry, str(change.get("field") or ""), callbacks.mapped(change.get("value"))
            )
        ]


def _of_change(entry: dict[str, Any], field: str, value: dict[str, Any]) -> Iterator[Event]:
    if field in CONVERSATIONS:
        return _of_conversations(value)
    return news.told(field, value, str(entry.get("id") or ""), callbacks.moment(entry.get("time")))


def _of_conversations(value: dict[str, Any]) -> Iterator[Event]:
    for status in callbacks.listed(value.get("statuses")):
        if fact := _fact(status):
            yield fact
    ours = callbacks.mapped(value.get("metadata")).get("phone_number_id")
    for message in callbacks.listed(value.get("messages")):
        if event := guests.said(message, ours if isinstance(ours, str) else ""):
            yield event
    for preference in callbacks.listed(value.get("user_preferences")):
        if choice := guests.choice(preference):
            yield choice


def _fact(status: dict[str, Any]) -> Fact | None:
    report = REPORTS.get(str(status.get("status")))
    if report is None or not status.get("id"):
        return None
    error = next(iter(callbacks.listed(status.get("errors"))), {})
    # By callback a code means what it means in an answer.
    refusal = refusal_of(error.get("code"))
    return Fact(
        report,
        key=f"{status['id']}:{status['status']}",
        channel="whatsapp",
        address=guests.who(status, "recipient_id", "recipient_user_id"),
        message_id=callbacks.our_id(status.get("biz_opaque_callback_data")),
        provider_id=str(status["id"])[:255],
        words=_words(error) if report is Report.FAILED else "",
        at=callbacks.moment(status.get("timestamp")),
        bad_address=refusal is not None and refusal.bad_address,
        opt_out=refusal is not None and refusal.error_class is ErrorClass.OPT_OUT,
    )


def _words(error: dict[str, Any]) -> str:
    words = plain(str(error.get("title") or error.get("message") or "Undelivered"))
    return f"{words} ({error['code']})" if isinstance(error.get("code"), int) else words
