"""What the services are sent, as django-anymail writes it: one request for one or more letters.

Only its knowledge of their requests is used. The calls leave through our own client, which knows
whether one was written, and the answers are judged by tables of our own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from anymail.backends.mailgun import EmailBackend as MailgunBackend
from anymail.backends.postmark import EmailBackend as PostmarkBackend
from anymail.backends.resend import EmailBackend as ResendBackend
from anymail.message import AnymailMessage

from regulars.providers.anymail.looking_up import stream_of
from regulars.providers.anymail.options import MailgunOptions, PostmarkOptions, ResendOptions
from regulars.providers.base import Outgoing
from regulars.providers.mail import SenderOptions, ascii_address, checked_header


@dataclass(frozen=True, slots=True)
class Request:
    """A POST: where to, what, and as what."""

    url: str
    body: bytes
    kind: str
    headers: dict[str, str]
    basic_auth: tuple[str, str] | None = None


JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def postmark(batch: Sequence[Outgoing], options: PostmarkOptions) -> Request:
    """`POST /email/batch`, which takes whole letters."""
    token = options.server_token.get_secret_value()
    backend = PostmarkBackend(server_token=token, api_url=_base(options))
    written = [backend.build_message_payload(_untracked(one, options), {}).data for one in batch]
    for message, document in zip(batch, written, strict=True):
        document["MessageStream"] = stream_of(message, options)
    headers = {"x-postmark-server-token": token, "accept": JSON}
    return Request(f"{_base(options)}email/batch", _json(written), JSON, headers)


def resend(batch: Sequence[Outgoing], options: ResendOptions) -> Request:
    """`POST /emails/batch`, which takes whole letters.

    The key is new with each attempt: it only keeps whoever stands in between from repeating a call.
    A later call is never the same batch, so no repeat of ours could count on it.
    """
    key = options.api_key.get_secret_value()
    backend = ResendBackend(api_key=key, api_url=_base(options))
    written = [backend.build_message_payload(_tagged(one, options), {}).data for one in batch]
    headers = {
        "authorization": f"Bearer {key}",
        "accept": JSON,
        "idempotency-key": _key(batch),
        # Takes the letters that it can, and names the others.
        "x-batch-validation": "permissive",
    }
    return Request(f"{_base(options)}emails/batch", _json(written), JSON, headers)


def mailgun(message: Outgoing, options: MailgunOptions) -> Request:
    """`POST /{domain}/messages`, one letter. Its batches have one id for all and one text with holes."""
    key = options.api_key.get_secret_value()
    backend = MailgunBackend(api_key=key, sender_domain=options.domain, api_url=_base(options))
    payload = backend.build_message_payload(_untracked(message, options), {})
    asked = payload.get_request_params(backend.api_url)
    body = urlencode(asked["data"], doseq=True).encode()
    return Request(asked["url"], body, FORM, {"accept": JSON}, asked["auth"])


def _letter(message: Outgoing, options: SenderOptions) -> AnymailMessage:
    letter = AnymailMessage(
        subject=message.subject,
        body=message.body,
        from_email=_from(options),
        to=[ascii_address(message.address)],
        headers=dict(checked_header(*header) for header in message.headers.items()),
    )
    if message.html:
        letter.attach_alternative(message.html, "text/html")
    return letter


def _untracked(message: Outgoing, options: SenderOptions) -> AnymailMessage:
    """Nobody is watched opening and clicking; our id comes back in callbacks."""
    letter = _letter(message, options)
    letter.track_opens = letter.track_clicks = False
    letter.metadata = {"message": str(message.message_id)}
    return letter


def _tagged(message: Outgoing, options: SenderOptions) -> AnymailMessage:
    """The same for Resend. Its tags the guest does not see, as anymail's metadata would be."""
    letter = _letter(message, options)
    letter.esp_extra = {"tags": [{"name": "message", "value": str(message.message_id)}]}
    return letter


def _from(options: SenderOptions) -> str:
    if not options.from_name:
        return options.from_address
    name = options.from_name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{options.from_address}>'


def _key(batch: Sequence[Outgoing]) -> str:
    named = "\n".join(f"{message.idempotency_key} {message.attempt}" for message in batch)
    return sha256(named.encode()).hexdigest()


def _base(options: Any) -> str:
    return str(options.base_url).rstrip("/") + "/"


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()
