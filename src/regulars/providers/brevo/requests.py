"""What Brevo is sent. Pure.

Brevo fills in `{{ ... }}` and `{% ... %}` in what it is given. Ours is filled in already, so whatever
looks like that came from a guest or a menu and is kept from being read so.
"""

import re
from collections.abc import Sequence
from email.header import Header
from html import escape
from typing import Any

from regulars.providers.base import Outgoing
from regulars.providers.brevo.options import BrevoOptions
from regulars.providers.gsm import EVERY
from regulars.providers.mail import ascii_address

_OPENING = re.compile(r"\{(?=[{%])")


def letter(message: Outgoing, options: BrevoOptions) -> dict[str, Any]:
    """The body of `POST /smtp/email` for one letter."""
    return {"sender": _sender(options), **version(message)}


def letters(batch: Sequence[Outgoing], options: BrevoOptions) -> dict[str, Any]:
    """The body of `POST /smtp/email` for several, as its `messageVersions`.

    A version may have its own subject and texts only where the whole has some, too: the first one's,
    which nobody gets, since each version has all of its own.
    """
    versions = [version(message) for message in batch]
    whole = {name: versions[0][name] for name in ("subject", "htmlContent", "textContent")}
    return {"sender": _sender(options), **whole, "messageVersions": versions}


def version(message: Outgoing) -> dict[str, Any]:
    """What is different in each letter. HTML is required: without any the text is shown as it is.

    `X-Mailin-custom` comes back in every callback; the guest can see it, so it says our id only.
    """
    return {
        "to": [{"email": ascii_address(message.address)}],
        "subject": _inert(message.subject),
        "htmlContent": _inert_html(
            message.html or f'<div style="white-space:pre-wrap">{escape(message.body)}</div>'
        ),
        "textContent": _inert(message.body),
        "headers": {**message.headers, "X-Mailin-custom": custom(message)},
    }


def custom(message: Outgoing) -> str:
    """How a callback names our message."""
    return f"m{message.message_id}"


def sms(message: Outgoing, options: BrevoOptions) -> dict[str, Any]:
    """The body of `POST /transactionalSMS/send`."""
    return {
        "sender": options.sms_sender,
        "recipient": message.address.removeprefix("+"),
        "content": message.body,
        "type": "marketing" if message.purpose == "marketing" else "transactional",
        "unicodeEnabled": not EVERY.issuperset(message.body),
        "tag": custom(message),
    }


def whatsapp(message: Outgoing, options: BrevoOptions) -> dict[str, Any]:
    """The body of `POST /whatsapp/sendMessage`: an approved template, or text within 24 hours."""
    whom = {
        "senderNumber": options.whatsapp_sender.removeprefix("+"),
        "contactNumbers": [message.address.removeprefix("+")],
    }
    if message.template is None:
        return {**whom, "text": message.body}
    values = dict(message.template.values)
    return {**whom, "templateId": int(message.template.reference), **({"params": values} if values else {})}


def _sender(options: BrevoOptions) -> dict[str, str]:
    name = options.from_name
    if "," in name and not name.isascii():
        # Brevo drops such a name unless it comes as an encoded word.
        name = Header(name, "utf-8").encode()
    return {"email": options.from_address, **({"name": name} if name else {})}


def _inert(text: str) -> str:
    """A word joiner, which nobody sees, between the two signs."""
    return _OPENING.sub("{\u2060", text)


def _inert_html(html: str) -> str:
    return _OPENING.sub("&#123;", html)
