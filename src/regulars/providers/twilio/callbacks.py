"""What Twilio tells: the status of each message, and what guests write. Form-encoded and signed.

Source: https://www.twilio.com/docs/usage/security, https://www.twilio.com/docs/messaging/guides/webhook-request,
https://www.twilio.com/docs/usage/webhooks/webhook-shared-keys
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import SplitResult, urlsplit

from regulars.providers import callbacks
from regulars.providers.base import Report
from regulars.providers.callbacks import (
    Callbacks,
    Event,
    Fact,
    Inbound,
    MalformedError,
    RefusedError,
    Request,
)
from regulars.providers.classes import ErrorClass, Refusal, plain
from regulars.providers.twilio import tables
from regulars.providers.twilio.looking_up import REPORTS

# What Twilio itself answers on numbers (English only, by default), besides blocking the sender.
ANSWERED = {
    *("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"),
    *("START", "YES", "UNSTOP"),
}
_PORTS = {"https": 443, "http": 80}
_HASHES = {"HMAC_SHA1": hashlib.sha1, "HMAC_SHA256": hashlib.sha256}


class TwilioCallbacks(Callbacks):
    label = "Twilio"
    where = (
        "Phone Numbers › your number (or Messaging Services › Integration): “A message comes in”, HTTP POST"
    )
    # Anything but TwiML would be sent to the guest as an answer.
    answer = ("text/xml", b"<Response/>")

    def check(
        self, request: Request, secrets: Mapping[str, str], now: datetime, certificate: bytes = b""
    ) -> None:
        """The HMAC of address and sorted fields; the address with and without its port.

        By the auth token and SHA-1; where the owner has made a rule with a shared key, by that, as a
        header says. The header picks among secrets of the owner's, so it proves nothing and needs no proof.
        """
        given = request.headers.get("x-twilio-signature", "")
        if not given:
            raise RefusedError("X-Twilio-Signature is missing.", 401)
        name, algorithm = _signed_with(request.headers.get("x-twilio-webhooks-signature-settings", ""))
        secret, fields = secrets.get(name, ""), sorted(set(request.form()))
        signatures = [signature(secret, url, fields, algorithm) for url in _spellings(request.url)]
        if not secret or not any(callbacks.same(given, wanted) for wanted in signatures):
            raise RefusedError(f"X-Twilio-Signature does not fit: check {name} and REGULARS_PUBLIC_URL.")

    def events(self, request: Request) -> list[Event]:
        fields = dict(request.form())
        sid = fields.get("MessageSid") or fields.get("SmsSid", "")
        if not sid:
            raise MalformedError("MessageSid is missing.")
        status = fields.get("MessageStatus") or fields.get("SmsStatus", "")
        if status == "received" or ("MessageStatus" not in fields and "Body" in fields):
            return [_inbound(sid, fields)]
        return _facts(sid, status, fields, request.query)


def signature(secret: str, url: str, fields: list[tuple[str, str]], algorithm: str = "HMAC_SHA1") -> str:
    """Base64 of the HMAC under the auth token or a shared key: the address, then each name and value."""
    signed = url + "".join(name + value for name, value in fields)
    return base64.b64encode(hmac.digest(secret.encode(), signed.encode(), _HASHES[algorithm])).decode()


def _signed_with(settings: str) -> tuple[str, str]:
    """The name of the secret and the algorithm, of `key=webhooks_sharedkey_…,algorithm=HMAC_SHA256`.

    Raises:
        RefusedError: an algorithm that we do not know.
    """
    if not settings:
        return "auth_token", "HMAC_SHA1"
    said = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    algorithm = said.get("algorithm", "").strip().upper() or "HMAC_SHA1"
    if algorithm not in _HASHES:
        raise RefusedError(f"Twilio signs by another algorithm than {' and '.join(_HASHES)}.")
    return "shared_key", algorithm


def _spellings(url: str) -> list[str]:
    """The address as we know it, without its port, and with it: Twilio's servers differ in that."""
    parts = urlsplit(url)
    # As it is written: the host's capitals are signed, too.
    host = parts.netloc if parts.port is None else parts.netloc.removesuffix(f":{parts.port}")
    port = parts.port or _PORTS.get(parts.scheme, 443)
    return list(dict.fromkeys([url, _with_host(parts, host), _with_host(parts, f"{host}:{port}")]))


def _with_host(parts: SplitResult, host: str) -> str:
    return parts._replace(netloc=host).geturl()


def _channel(address: str) -> str:
    return "whatsapp" if address.startswith("whatsapp:") else "sms"


def _inbound(sid: str, fields: Mapping[str, str]) -> Inbound:
    sender, text = fields.get("From", ""), fields.get("Body", "")
    number = fields.get("NumMedia", "0")
    if not text and number not in ("", "0"):
        text = f"[{number} attached]"
    channel = _channel(sender)
    by_itself = channel == "sms" and text.strip().upper() in ANSWERED
    answered = bool(fields.get("OptOutType")) or by_itself
    to = fields.get("To", "").removeprefix("whatsapp:")
    return Inbound(sid, channel, callbacks.phone(sender), text, answered=answered, to=to)


def _facts(sid: str, status: str, fields: Mapping[str, str], query: Mapping[str, str]) -> list[Event]:
    report = REPORTS.get(status)
    if report is None:
        return []
    code = fields.get("ErrorCode", "")
    row = tables.CODES.get(int(code)) if code.isascii() and code.isdigit() and len(code) < 7 else None
    failed = report is Report.FAILED
    attempt = callbacks.our_id(query.get("attempt"))
    return [
        Fact(
            report,
            key=f"{sid}:{status}",
            channel=_channel(fields.get("To", "")),
            address=callbacks.phone(fields.get("To")),
            message_id=callbacks.our_id(query.get("message")),
            provider_id=sid,
            attempt=attempt if attempt is not None and attempt < 32_768 else None,
            words=_words(row, code, fields) if failed else "",
            bad_address=failed and row is not None and row.bad_address,
            opt_out=failed and row is not None and row.error_class is ErrorClass.OPT_OUT,
        )
    ]


def _words(row: object, code: str, fields: Mapping[str, str]) -> str:
    words = row.words if isinstance(row, Refusal) else plain(fields.get("ErrorMessage", ""))
    return f"{words or 'Twilio could not deliver it'} ({code})" if code else words or "Undelivered"
