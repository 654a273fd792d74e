"""The JSON of one message, as the Cloud API takes it. Pure.

Placeholders are named by where they stand: `1` or `first_name` in the body, `header.1` or
`header.image` in the header, `button.0` at the end of the first button's address.
"""

from typing import Any

from regulars.providers.base import Outgoing, TemplateUse
from regulars.providers.meta.options import MARKETING_ENDPOINT, MetaOptions

MEDIA = ("image", "video", "document")


def is_user_id(address: str) -> bool:
    """Whether it is a business-scoped user id (`ES.1349…`), in place of a number (`+34…`)."""
    return not address.startswith("+")


def endpoint_of(message: Outgoing, options: MetaOptions) -> str:
    """`messages`, or the marketing endpoint: for templates that advertise, where the owner chose it."""
    advertises = message.purpose == "marketing" and message.template is not None
    return options.marketing_endpoint if advertises else "messages"


def document_of(message: Outgoing, options: MetaOptions) -> dict[str, Any]:
    """The request for one message."""
    document: dict[str, Any] = {"messaging_product": "whatsapp", "recipient_type": "individual"}
    if is_user_id(message.address):
        document["recipient"] = message.address
    else:
        document["to"] = message.address.removeprefix("+")
    document |= _content(message)
    on_marketing = endpoint_of(message, options) == MARKETING_ENDPOINT
    # Meta's published description of the marketing endpoint refuses this field; others send it.
    if not on_marketing or options.marketing_callback_data:
        document["biz_opaque_callback_data"] = str(message.message_id)
    if on_marketing and options.product_policy:
        document["product_policy"] = options.product_policy
    return document


def _content(message: Outgoing) -> dict[str, Any]:
    if message.template is None:
        return {"type": "text", "text": {"body": message.body, "preview_url": False}}
    return {"type": "template", "template": _template(message.template)}


def _template(use: TemplateUse) -> dict[str, Any]:
    template: dict[str, Any] = {"name": use.name, "language": {"code": use.language}}
    header = [_header(name.partition(".")[2], text) for name, text in use.values if _is(name, "header")]
    body = [_text(name, text) for name, text in use.values if "." not in name]
    components: list[dict[str, Any]] = []
    if header:
        components.append({"type": "header", "parameters": header})
    if body:
        components.append({"type": "body", "parameters": body})
    components += [_button(name, text) for name, text in use.values if _is(name, "button")]
    return template | ({"components": components} if components else {})


def _is(name: str, part: str) -> bool:
    return name.startswith(f"{part}.")


def _header(name: str, text: str) -> dict[str, Any]:
    return {"type": name, name: {"link": text}} if name in MEDIA else _text(name, text)


def _text(name: str, text: str) -> dict[str, Any]:
    named = {} if name.isdigit() else {"parameter_name": name}
    return {"type": "text", **named, "text": text}


def _button(name: str, text: str) -> dict[str, Any]:
    parameters = [{"type": "text", "text": text}]
    return {"type": "button", "sub_type": "url", "index": name.partition(".")[2], "parameters": parameters}
