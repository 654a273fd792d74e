"""From the events of Postmark, Mailgun and Resend to ours. Pure; the tables are the vendors' own lists."""

from typing import Any

from regulars.providers import callbacks
from regulars.providers.base import Report
from regulars.providers.callbacks import Event, Fact
from regulars.providers.classes import plain

# Postmark's types of bounce that are none, or that are only a delay.
_POSTMARK_NO_BOUNCE = {
    *("AutoResponder", "AddressChange", "Subscribe", "Unsubscribe", "ChallengeVerification"),
    *("Transient", "DnsError", "OpenRelayTest"),
}
_POSTMARK_BAD = {"HardBounce", "BadEmailAddress"}

_MAILGUN: dict[str, Report | None] = {
    "accepted": Report.ACCEPTED,
    "delivered": Report.DELIVERED,
    "failed": Report.BOUNCED,
    "rejected": Report.FAILED,
    "complained": Report.COMPLAINED,
    "unsubscribed": None,
    "opened": Report.READ,
    "clicked": Report.CLICKED,
}

_RESEND: dict[str, Report | None] = {
    "email.sent": Report.ACCEPTED,
    "email.delivered": Report.DELIVERED,
    "email.bounced": Report.BOUNCED,
    "email.complained": Report.COMPLAINED,
    "email.failed": Report.FAILED,
    "email.suppressed": Report.FAILED,
    "email.opened": Report.READ,
    "email.clicked": Report.CLICKED,
}


def by_postmark(told: dict[str, Any]) -> list[Event]:
    """One event; the number of the message is the same for all of them."""
    kind, number = str(told.get("RecordType")), str(told.get("MessageID") or "")
    address = callbacks.mailbox(told.get("Email") or told.get("Recipient"))
    at = next(
        (told[name] for name in ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt") if name in told), ""
    )
    bounce = str(told.get("Type"))
    reports = {
        "Delivery": Report.DELIVERED,
        "Bounce": Report.BOUNCED,
        "SpamComplaint": Report.COMPLAINED,
        "Open": Report.READ,
        "Click": Report.CLICKED,
    }
    unsubscribed = kind == "SubscriptionChange" and told.get("SuppressionReason") == "ManualSuppression"
    if kind not in reports and not unsubscribed:
        return []
    return [
        Fact(
            None if kind == "Bounce" and bounce in _POSTMARK_NO_BOUNCE else reports.get(kind),
            key=f"{number}:{kind}:{told.get('ID') or at}:{address}",
            channel="email",
            address=address,
            message_id=_ours(told.get("Metadata")),
            provider_id=number,
            words=plain(str(told.get("Description") or "")) if kind == "Bounce" else "",
            at=callbacks.iso_moment(at),
            bad_address=kind == "Bounce" and bounce in _POSTMARK_BAD,
            complaint=kind == "SpamComplaint",
            opt_out=(unsubscribed and told.get("SuppressSending") is True) or bounce == "Unsubscribe",
            tracked=kind in ("Open", "Click"),
        )
    ]


def by_mailgun(told: dict[str, Any]) -> list[Event]:
    """One event; of failures only those for good are told to the message."""
    kind = str(told.get("event"))
    if kind not in _MAILGUN:
        return []
    for_good = kind == "failed" and told.get("severity") == "permanent"
    headers = callbacks.mapped(callbacks.mapped(told.get("message")).get("headers"))
    status = callbacks.mapped(told.get("delivery-status"))
    number = str(headers.get("message-id") or "")
    return [
        Fact(
            None if kind == "failed" and not for_good else _MAILGUN[kind],
            # Mailgun's ids are unique within a day only.
            key=f"{told.get('id') or number}:{kind}:{told.get('timestamp')}",
            channel="email",
            address=callbacks.mailbox(told.get("recipient")),
            message_id=_ours(told.get("user-variables")),
            # As it was given to the sender, in brackets.
            provider_id=f"<{number.strip('<>')}>"[:255] if number else "",
            words=plain(str(status.get("description") or status.get("message") or told.get("reason") or "")),
            at=callbacks.moment(told.get("timestamp")),
            # `suppress-…`: Mailgun did not even try; the reason is an older bounce or a wish of the guest.
            bad_address=for_good and told.get("reason") in ("bounce", "suppress-bounce"),
            complaint=kind == "complained" or told.get("reason") == "suppress-complaint",
            opt_out=kind == "unsubscribed" or told.get("reason") == "suppress-unsubscribe",
            tracked=kind in ("opened", "clicked"),
        )
    ]


def by_resend(told: dict[str, Any], number: str) -> list[Event]:
    """One event, for each recipient; `number` is that of the event."""
    kind, data = str(told.get("type")), callbacks.mapped(told.get("data"))
    if kind not in _RESEND:
        return []
    bounce = callbacks.mapped(data.get("bounce"))
    tags = data.get("tags")
    if isinstance(tags, list):
        tags = {row.get("name"): row.get("value") for row in callbacks.listed(tags)}
    recipients: Any = data.get("to")
    return [
        Fact(
            _RESEND[kind],
            key=f"{number or data.get('email_id')}:{kind}",
            channel="email",
            address=callbacks.mailbox(one),
            message_id=_ours(tags),
            provider_id=str(data.get("email_id") or "")[:255],
            words=plain(
                str(bounce.get("message") or callbacks.mapped(data.get("failed")).get("reason") or "")
            ),
            at=callbacks.iso_moment(told.get("created_at")),
            bad_address=kind == "email.bounced" and bounce.get("type") in ("Permanent", "hard"),
            complaint=kind == "email.complained",
            tracked=kind in ("email.opened", "email.clicked"),
        )
        for one in (recipients if isinstance(recipients, list) else [recipients])
    ]


def _ours(values: object) -> int | None:
    named = callbacks.mapped(values)
    for name in ("message", "message_id", "regulars", "id"):
        if (found := callbacks.our_id(named.get(name))) is not None:
            return found
    return None
