"""The form fields of one message. Pure.

Every message needs its own set: SMS has a text; WhatsApp has a Content template with its variables,
or a text inside the 24 hours after the guest wrote.
"""

import json

from regulars.providers.base import Outgoing
from regulars.providers.twilio.options import SERVICE, TwilioOptions

WHATSAPP = "whatsapp:"


def fields_of(message: Outgoing, options: TwilioOptions) -> dict[str, str]:
    """The form fields of one message, by its channel."""
    return {
        "To": address_of(message),
        **_sender(message, options),
        **_content(message),
        "ValidityPeriod": str(options.validity_seconds),
        # Where Twilio reports about this very message, if anybody outside can reach us.
        **({"StatusCallback": message.callback} if message.callback else {}),
    }


def address_of(message: Outgoing) -> str:
    """The recipient as Twilio writes it: `whatsapp:+34…` for WhatsApp."""
    return f"{WHATSAPP}{message.address}" if message.channel == "whatsapp" else message.address


def _sender(message: Outgoing, options: TwilioOptions) -> dict[str, str]:
    by_whatsapp = message.channel == "whatsapp"
    sender = options.whatsapp_from if by_whatsapp else options.sender or ""
    if SERVICE.fullmatch(sender):
        return {"MessagingServiceSid": sender}
    return {"From": f"{WHATSAPP}{sender}" if by_whatsapp else sender}


def _content(message: Outgoing) -> dict[str, str]:
    template = message.template
    if template is None:
        return {"Body": message.body}
    variables = {"ContentVariables": json.dumps(dict(template.values), ensure_ascii=False)}
    return {"ContentSid": template.reference, **(variables if template.values else {})}
