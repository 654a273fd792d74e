"""What Amazon SES tells through SNS: JSON in JSON, signed (`sns`).

Source: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from regulars.providers import callbacks
from regulars.providers.base import Report
from regulars.providers.callbacks import (
    Callbacks,
    Event,
    Fact,
    MalformedError,
    RefusedError,
    Request,
    Subscription,
)
from regulars.providers.classes import plain
from regulars.providers.ses import sns

REPORTS: dict[str, Report | None] = {
    "Send": Report.ACCEPTED,
    "Delivery": Report.DELIVERED,
    "Bounce": Report.BOUNCED,
    "Complaint": Report.COMPLAINED,
    "Reject": Report.FAILED,
    "Rendering Failure": Report.FAILED,
    "DeliveryDelay": None,
    "Subscription": None,
    "Open": Report.READ,
    "Click": Report.CLICKED,
}
TRACKED = {"Open", "Click"}
# Where the recipients of an event are listed, and under which name.
_RECIPIENTS = {"Bounce": ("bounce", "bouncedRecipients"), "Complaint": ("complaint", "complainedRecipients")}


class SesCallbacks(Callbacks):
    label = "Amazon SES"
    most_bytes = 300 * 1024
    where = "SNS › the topic of your configuration set › Create subscription: HTTPS, raw message delivery off"

    def certificate_url(self, request: Request) -> str:
        url = str(callbacks.mapped(request.document()).get("SigningCertURL", ""))
        if not sns.is_amazons(url) or not urlsplit(url).path.endswith(".pem"):
            raise RefusedError("SigningCertURL is not Amazon's.")
        return url

    def check(
        self, request: Request, secrets: Mapping[str, str], now: datetime, certificate: bytes = b""
    ) -> None:
        """Signed by SNS, and from the topic that the owner named, if any was named."""
        told = callbacks.mapped(request.document())
        sns.check(told, certificate, now)
        if secrets.get("topic_arn") and told.get("TopicArn") != secrets["topic_arn"]:
            raise RefusedError("It comes from another topic.")

    def events(self, request: Request) -> list[Event]:
        told = callbacks.mapped(request.document())
        if told.get("Type") == "SubscriptionConfirmation":
            url = str(told.get("SubscribeURL", ""))
            return [Subscription(url)] if sns.is_amazons(url) else []
        if told.get("Type") != "Notification":
            return []
        try:
            return _facts(callbacks.mapped(json.loads(str(told.get("Message")))), str(told.get("MessageId")))
        except (ValueError, RecursionError):
            # Amazon greets a new event destination in plain words.
            if "Successfully validated" in str(told.get("Message")):
                return []
            raise MalformedError("The message inside is not JSON.") from None


def _facts(event: dict[str, Any], key: str) -> list[Event]:
    kind = str(event.get("eventType") or event.get("notificationType"))
    if kind not in REPORTS:
        return []
    mail = callbacks.mapped(event.get("mail"))
    detail = callbacks.mapped(event.get(_RECIPIENTS.get(kind, (kind.lower(), ""))[0]))
    for_good = kind == "Bounce" and detail.get("bounceType") == "Permanent"
    return [
        Fact(
            REPORTS[kind],
            key=f"{key}:{address}",
            channel="email",
            address=address,
            message_id=_ours(mail),
            provider_id=str(mail.get("messageId") or "")[:255],
            words=_words(kind, detail, recipient),
            at=callbacks.iso_moment(detail.get("timestamp")),
            bad_address=for_good,
            complaint=kind == "Complaint",
            opt_out=kind == "Subscription",
            tracked=kind in TRACKED,
        )
        for address, recipient in _recipients(kind, mail, detail)
    ]


def _recipients(kind: str, mail: dict[str, Any], detail: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    if kind in _RECIPIENTS:
        rows = callbacks.listed(detail.get(_RECIPIENTS[kind][1]))
        return [(callbacks.mailbox(row.get("emailAddress")), row) for row in rows]
    whole: Any = detail.get("recipients") or mail.get("destination")
    return [(callbacks.mailbox(one), {}) for one in (whole if isinstance(whole, list) else [])]


def _words(kind: str, detail: dict[str, Any], recipient: dict[str, Any]) -> str:
    if kind not in ("Bounce", "Complaint", "Reject"):
        return ""
    said = recipient.get("diagnosticCode") or detail.get("bounceSubType") or detail.get("reason")
    return plain(str(said or detail.get("complaintFeedbackType") or kind))


def _ours(mail: dict[str, Any]) -> int | None:
    tags = callbacks.mapped(mail.get("tags"))
    for name in ("message", "message_id", "regulars"):
        for value in tags.get(name) or []:
            if (found := callbacks.our_id(value)) is not None:
                return found
    return None
