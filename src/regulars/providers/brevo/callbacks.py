"""What Brevo tells of e-mail and SMS. JSON, signed by nothing: a secret address, and a password in a header.

Brevo comes again only after 429; any other refusal loses the event for good.

Source: https://developers.brevo.com/docs/transactional-webhooks
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from regulars.providers import callbacks
from regulars.providers.base import Report
from regulars.providers.callbacks import Callbacks, Event, Fact, Inbound, Request
from regulars.providers.classes import plain

# None: says nothing of the message's state.
EMAIL: dict[str, Report | None] = {
    "request": Report.ACCEPTED,
    "delivered": Report.DELIVERED,
    "deferred": None,
    "soft_bounce": Report.BOUNCED,
    "hard_bounce": Report.BOUNCED,
    "invalid_email": Report.BOUNCED,
    "blocked": Report.FAILED,
    "error": Report.FAILED,
    "spam": Report.COMPLAINED,
    "complaint": Report.COMPLAINED,
    "unsubscribe": None,
    "unsubscribed": None,
    "opened": Report.READ,
    "unique_opened": Report.READ,
    "proxy_open": None,
    "unique_proxy_open": None,
    "click": Report.CLICKED,
}
BAD_MAILBOX = {"hard_bounce", "invalid_email"}
COMPLAINTS = {"spam", "complaint"}
TRACKED = {"opened", "unique_opened", "proxy_open", "unique_proxy_open", "click"}

SMS: dict[str, Report | None] = {
    "sent": Report.ACCEPTED,
    "accepted": Report.ACCEPTED,
    "delivered": Report.DELIVERED,
    "softbounces": Report.FAILED,
    "softbounce": Report.FAILED,
    "hardbounces": Report.FAILED,
    "hardbounce": Report.FAILED,
    "rejected": Report.FAILED,
    "blacklisted": Report.FAILED,
    "skip": Report.FAILED,
    "unsubscribe": None,
    "unsubscribed": None,
}
BAD_NUMBER = {"hardbounces", "hardbounce"}
OPT_OUT = {"unsubscribe", "unsubscribed", "blacklisted"}


class BrevoCallbacks(Callbacks):
    label = "Brevo"
    most_bytes = 1024 * 1024
    busy_status = 429
    where = (
        "Transactional › Settings › Webhook (e-mail), and the same for SMS: the address, "
        "with the password as bearer token"
    )

    def check(
        self, request: Request, secrets: Mapping[str, str], now: datetime, certificate: bytes = b""
    ) -> None:
        callbacks.check_password(request, secrets)

    def events(self, request: Request) -> list[Event]:
        document = request.document()
        told = callbacks.listed(document if isinstance(document, list) else [document])
        found = [_sms(one) if "msg_status" in one or "reply" in one else _email(one) for one in told]
        return [event for event in found if event is not None]


def _email(told: dict[str, Any]) -> Event | None:
    event = str(told.get("event", "")).lower()
    if event not in EMAIL:
        return None
    address = callbacks.mailbox(told.get("email"))
    milliseconds = told.get("ts_epoch")
    return Fact(
        EMAIL[event],
        # There is no id of an event: what is the same in all of these is the same event.
        key=f"{told.get('message-id')}:{event}:{milliseconds}",
        channel="email",
        address=address,
        message_id=_ours(told),
        provider_id=str(told.get("message-id") or "")[:255],
        words=plain(str(told.get("reason") or "")),
        at=callbacks.moment(milliseconds / 1000) if isinstance(milliseconds, int) else None,
        bad_address=event in BAD_MAILBOX,
        complaint=event in COMPLAINTS,
        opt_out=event in OPT_OUT,
        tracked=event in TRACKED,
    )


def _sms(told: dict[str, Any]) -> Event | None:
    status = str(told.get("msg_status", "")).lower().replace("_", "").replace(" ", "")
    number, sid = callbacks.phone(told.get("to")), str(told.get("messageId") or "")
    at = callbacks.moment(told.get("ts_event"))
    if status in ("replied", "reply") or (told.get("reply") and status not in SMS):
        key = f"{sid}:reply:{told.get('ts_event')}"
        return Inbound(key, "sms", number, str(told.get("reply") or ""), at=at)
    if status not in SMS:
        return None
    return Fact(
        SMS[status],
        key=f"{sid}:{status}",
        channel="sms",
        address=number,
        message_id=_ours(told),
        provider_id=sid,
        words=plain(str(told.get("description") or told.get("reason") or "")),
        at=at,
        bad_address=status in BAD_NUMBER,
        opt_out=status in OPT_OUT,
    )


def _ours(told: dict[str, Any]) -> int | None:
    """Our message's id: in the custom header (plain or inside JSON), else the first tag that is one."""
    candidates: list[object] = [*_inside(told.get("X-Mailin-custom"))]
    for name in ("tags", "tag"):
        candidates += _inside(told.get(name))
    return next((found for one in candidates if (found := callbacks.our_id(one)) is not None), None)


def _inside(value: object) -> Iterable[object]:
    """The values in a text, a list, an object, or in the JSON of one of them."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]
