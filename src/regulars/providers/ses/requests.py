"""What Amazon SES is sent. Pure.

A bulk call has one template and its values for each letter. Our letters are ready, so the template
is nothing but their three parts, each a value. SES puts values in as they are.
"""

import json
from collections.abc import Sequence
from email.utils import formataddr
from typing import Any

from regulars.providers.base import Outgoing
from regulars.providers.mail import ascii_address
from regulars.providers.ses.options import SesOptions

# Named apart from anything a template language knows.
PARTS = {"Subject": "regulars_subject", "Text": "regulars_text", "Html": "regulars_html"}


def letter(message: Outgoing, options: SesOptions) -> dict[str, Any]:
    """The body of `POST /v2/email/outbound-emails`."""
    parts = parts_of(message)
    subject = _content(parts.pop("Subject"))
    body = {name: _content(text) for name, text in parts.items()}
    simple = {"Subject": subject, "Body": body, **_headers("Headers", message)}
    return {
        **_account(options),
        "Destination": _destination(message),
        "Content": {"Simple": simple},
        "EmailTags": _tags(message),
    }


def letters(batch: Sequence[Outgoing], options: SesOptions) -> dict[str, Any]:
    """The body of `POST /v2/email/outbound-bulk-emails`; all have the same parts."""
    template = {name: "{{" + PARTS[name] + "}}" for name in parts_of(batch[0])}
    empty = json.dumps({PARTS[name]: "" for name in template})
    return {
        **_account(options),
        "DefaultContent": {"Template": {"TemplateContent": template, "TemplateData": empty}},
        "BulkEmailEntries": [_entry(message) for message in batch],
    }


def parts_of(message: Outgoing) -> dict[str, str]:
    """Subject and texts: those that the letter has."""
    parts = {"Subject": message.subject, "Text": message.body, "Html": message.html}
    return {name: text for name, text in parts.items() if text or name == "Subject"}


def shape_of(message: Outgoing) -> tuple[str, ...]:
    """What letters of one bulk call have in common."""
    return tuple(parts_of(message))


def _entry(message: Outgoing) -> dict[str, Any]:
    values = {PARTS[name]: text for name, text in parts_of(message).items()}
    data = json.dumps(values, ensure_ascii=False)
    return {
        "Destination": _destination(message),
        "ReplacementTags": _tags(message),
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": data}},
        **_headers("ReplacementHeaders", message),
    }


def _account(options: SesOptions) -> dict[str, Any]:
    named = {"ConfigurationSetName": options.configuration_set} if options.configuration_set else {}
    return {"FromEmailAddress": formataddr((options.from_name, options.from_address)), **named}


def _destination(message: Outgoing) -> dict[str, Any]:
    return {"ToAddresses": [ascii_address(message.address)]}


def _tags(message: Outgoing) -> list[dict[str, str]]:
    """How an event names our message."""
    return [{"Name": "message", "Value": str(message.message_id)}]


def _headers(name: str, message: Outgoing) -> dict[str, Any]:
    headers = [{"Name": header, "Value": value} for header, value in message.headers.items()]
    return {name: headers} if headers else {}


def _content(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}
