"""The error codes of Postmark, Mailgun and Resend: what each means for us.

Sources: Postmark's list of `ErrorCode`, Resend's list of error names, and for Mailgun, which has no
codes, its statuses and the beginnings of its sentences.
"""

import re
from datetime import timedelta

from regulars.providers.calling import Statuses
from regulars.providers.classes import ErrorClass, Refusal

_C = ErrorClass
_HOUR = timedelta(hours=1)
ADDRESS = Refusal(_C.PERMANENT, "Invalid address", bad_address=True)
SENDER = Refusal(_C.STOP_ACCOUNT, "The mail service refuses the sender: check from_address")

POSTMARK_STATUSES = Statuses("Postmark", "server_token")
MAILGUN_STATUSES = Statuses("Mailgun", "api_key")
RESEND_STATUSES = Statuses("Resend", "api_key")

_TOKEN = Refusal(_C.STOP_ACCOUNT, "Postmark does not accept server_token: check it")
_SIGNATURE = Refusal(_C.STOP_ACCOUNT, "Postmark does not know from_address: add it there as a sender")
_MAY_NOT = Refusal(_C.STOP_ACCOUNT, "The Postmark account may not send: ask its support")
_UNREADABLE = Refusal(_C.MESSAGE, "Postmark cannot read the letter")
POSTMARK: dict[int, Refusal] = {
    10: _TOKEN,
    100: Refusal(_C.TEMPORARY, "Postmark is being maintained", retry_after=timedelta(minutes=1)),
    300: Refusal(_C.MESSAGE, "Postmark refuses a part of the letter"),
    400: _SIGNATURE,
    401: _SIGNATURE,
    402: _UNREADABLE,
    403: _UNREADABLE,
    405: Refusal(_C.STOP_ACCOUNT, "The Postmark account is out of credit"),
    # It bounced before, complained, or was switched off by hand.
    406: Refusal(_C.PERMANENT, "Postmark writes to this address no more", bad_address=True),
    409: _UNREADABLE,
    410: _UNREADABLE,
    412: Refusal(_C.STOP_ACCOUNT, "Postmark is still looking at the new account: ask its support"),
    413: _MAY_NOT,
    429: Refusal(_C.TEMPORARY, "Too many requests for the Postmark account"),
    1235: Refusal(_C.STOP_ACCOUNT, "Postmark knows no such stream: check marketing_stream"),
}
# "Invalid 'To' address: ...", "Error parsing 'To': ..."
POSTMARK_TO = re.compile(r"(invalid|error parsing) 'to'", re.IGNORECASE)
POSTMARK_FROM = re.compile(r"(invalid|error parsing) 'from'", re.IGNORECASE)

_KEY = Refusal(_C.STOP_ACCOUNT, "Resend does not accept api_key: check it")
_PART = Refusal(_C.MESSAGE, "Resend refuses a part of the letter")
# An earlier call under the same key was taken, or is still being looked at.
_SEEN = Refusal(_C.UNKNOWN, "Resend has seen this call before and does not say what became of it")
RESEND: dict[str, Refusal] = {
    "validation_error": _PART,
    "missing_required_field": _PART,
    "invalid_parameter": _PART,
    "invalid_attachment": _PART,
    "invalid_idempotency_key": _PART,
    "missing_api_key": _KEY,
    "invalid_api_key": _KEY,
    "restricted_api_key": _KEY,
    "invalid_from_address": SENDER,
    "invalid_access": Refusal(_C.STOP_ACCOUNT, "The Resend account may not do this: ask its support"),
    "invalid_region": Refusal(_C.STOP_ACCOUNT, "Resend has no such region: look at the domain there"),
    "security_error": Refusal(_C.MESSAGE, "Resend takes the letter for dangerous"),
    "rate_limit_exceeded": Refusal(_C.TEMPORARY, "Too many requests for the Resend account"),
    "daily_quota_exceeded": Refusal(_C.TEMPORARY, "Resend's quota of the day is used up", retry_after=_HOUR),
    "monthly_quota_exceeded": Refusal(_C.STOP_ACCOUNT, "Resend's quota of the month is used up"),
    "invalid_idempotent_request": _SEEN,
    "concurrent_idempotent_requests": _SEEN,
}
RESEND_TO = re.compile(r"invalid `to` field", re.IGNORECASE)
# With 403 the same name means that the domain is not verified, or that only oneself may be written to.
RESEND_DOMAIN = Refusal(_C.STOP_ACCOUNT, "The domain of from_address is not verified: verify it at Resend")

MAILGUN: tuple[tuple[int, re.Pattern[str], Refusal], ...] = (
    (400, re.compile(r"'?to'? parameter is not a valid address", re.IGNORECASE), ADDRESS),
    (400, re.compile(r"'?from'? parameter is not a valid address", re.IGNORECASE), SENDER),
    (400, re.compile(r"", re.IGNORECASE), Refusal(_C.MESSAGE, "Mailgun refuses the letter")),
    (
        403,
        re.compile(r"", re.IGNORECASE),
        Refusal(_C.STOP_ACCOUNT, "Mailgun does not let this domain send: look there"),
    ),
    (
        404,
        re.compile(r"", re.IGNORECASE),
        Refusal(_C.STOP_ACCOUNT, "Mailgun knows no such domain: check domain, and base_url for its region"),
    ),
    (
        413,
        re.compile(r"", re.IGNORECASE),
        Refusal(_C.STOP_TEMPLATE, "The letter is too large for Mailgun: shorten the template"),
    ),
)
# What it answers, with 200, where the address is not that of the API.
MAGNIFICENT = Refusal(_C.STOP_ACCOUNT, "No Mailgun API for messages at this address: check base_url")
