"""What Postmark, Mailgun and Resend tell of e-mail, each in its own JSON and with its own proof.

Sources: https://postmarkapp.com/developer/webhooks/webhooks-overview,
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-payloads,
https://resend.com/docs/dashboard/webhooks/introduction
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

from regulars.lib import standard_webhooks
from regulars.providers import callbacks
from regulars.providers.anymail import told
from regulars.providers.callbacks import Callbacks, Event, RefusedError, Request

# Svix's own tolerance; each of its retries is signed anew.
_SVIX_TOLERANCE = timedelta(minutes=5)
# Mailgun's retries, which repeat the signature of the first, end after eight hours.
_MAILGUN_TOLERANCE = timedelta(hours=24)


class PostmarkCallbacks(Callbacks):
    label = "Postmark"
    most_bytes = 1024 * 1024
    where = "Servers › your server › message stream › Webhooks: the address, with Basic auth"

    def check(
        self, request: Request, secrets: Mapping[str, str], now: datetime, certificate: bytes = b""
    ) -> None:
        callbacks.check_password(request, secrets)

    def events(self, request: Request) -> list[Event]:
        return told.by_postmark(callbacks.mapped(request.document()))


class MailgunCallbacks(Callbacks):
    label = "Mailgun"
    needs = {"webhook_signing_key": "Settings › API security › HTTP webhook signing key"}
    where = "Sending › Webhooks › your domain: the address, for each kind of event"

    def check(
        self, request: Request, secrets: Mapping[str, str], now: datetime, certificate: bytes = b""
    ) -> None:
        """HMAC-SHA256 of timestamp and token: it proves who calls, the secret address that it is for us."""
        proof = callbacks.mapped(callbacks.mapped(request.document()).get("signature"))
        signed = f"{proof.get('timestamp')}{proof.get('token')}"
        if not proof.get("signature"):
            raise RefusedError("The signature is missing.", 401)
        key = secrets.get("webhook_signing_key", "")
        wanted = hmac.digest(key.encode(), signed.encode(), hashlib.sha256).hex()
        if not key or not callbacks.same(str(proof["signature"]), wanted):
            raise RefusedError("The signature does not fit: check webhook_signing_key.")
        _refuse_old(proof.get("timestamp"), now, _MAILGUN_TOLERANCE)

    def events(self, request: Request) -> list[Event]:
        document = callbacks.mapped(request.document())
        return told.by_mailgun(callbacks.mapped(document.get("event-data")))


class ResendCallbacks(Callbacks):
    label = "Resend"
    needs = {"webhook_secret": "Webhooks › your webhook › Signing secret (whsec_…)"}
    where = "Webhooks › Add webhook: the address"
    kept_headers = ("svix-id", "webhook-id")

    def check(
        self, request: Request, secrets: Mapping[str, str], now: datetime, certificate: bytes = b""
    ) -> None:
        """Svix, which is Standard Webhooks under other header names; one signature of several fits."""
        number, stamp, given = (
            request.headers.get(f"svix-{name}") or request.headers.get(f"webhook-{name}", "")
            for name in ("id", "timestamp", "signature")
        )
        if not given or not stamp.isascii() or not stamp.isdigit():
            raise RefusedError("The signature is missing.", 401)
        if not secrets.get("webhook_secret"):
            raise RefusedError("webhook_secret is not set.")
        wanted = standard_webhooks.headers(secrets["webhook_secret"], number, int(stamp[:12]), request.body)[
            "webhook-signature"
        ]
        if not any(callbacks.same(one, wanted) for one in given.split()):
            raise RefusedError("The signature does not fit: check webhook_secret.")
        _refuse_old(stamp, now, _SVIX_TOLERANCE)

    def events(self, request: Request) -> list[Event]:
        number = request.headers.get("svix-id") or request.headers.get("webhook-id", "")
        return told.by_resend(callbacks.mapped(request.document()), number)


def _refuse_old(stamp: object, now: datetime, tolerance: timedelta) -> None:
    signed_at = callbacks.moment(stamp)
    if signed_at is None or abs(now - signed_at) > tolerance:
        raise RefusedError("The signature is of another time.")
