"""Amazon SES v2's errors: what each means for us. Source: the service's own API model.

`EXCEPTIONS` are refusals of a whole call, `ENTRIES` the states of one letter of a bulk call.
"""

from datetime import timedelta

from regulars.providers.calling import Statuses
from regulars.providers.classes import ErrorClass, Refusal

_C = ErrorClass
_CONSOLE = "in the SES console"

STATUSES = Statuses("Amazon SES", "access_key_id and secret_access_key")

# "Wait for up to ten minutes" is asked for; the account's breaker doubles its pauses up to there.
_SLOWER = Refusal(
    _C.TEMPORARY, "Amazon SES asks to slow down: see MaxSendRate", retry_after=timedelta(seconds=10)
)
_KEY = Refusal(_C.STOP_ACCOUNT, "AWS does not accept access_key_id and secret_access_key: check both")
_MAY_NOT = Refusal(_C.STOP_ACCOUNT, "The AWS user may not do this: allow ses:SendEmail and ses:SendBulkEmail")
_SUSPENDED = Refusal(_C.STOP_ACCOUNT, f"AWS has shut the account for sending: look {_CONSOLE}")
_PAUSED = Refusal(_C.STOP_ACCOUNT, f"Sending is paused: switch it on {_CONSOLE}")
_QUOTA = Refusal(_C.STOP_ACCOUNT, f"The account's sending quota is used up: ask for more {_CONSOLE}")
_SENDER = Refusal(_C.STOP_ACCOUNT, f"The domain of from_address is not verified: verify it {_CONSOLE}")
_SET = Refusal(_C.STOP_ACCOUNT, "There is no such configuration_set in this region: check it")
_CLOCK = Refusal(_C.STOP_ACCOUNT, "This machine's clock is wrong by minutes: set it")
_REFUSED = Refusal(_C.MESSAGE, "Amazon SES refuses the letter")

EXCEPTIONS: dict[str, Refusal] = {
    "TooManyRequestsException": _SLOWER,
    "ThrottlingException": _SLOWER,
    "Throttling": _SLOWER,
    "LimitExceededException": _QUOTA,
    "AccountSuspendedException": _SUSPENDED,
    "SendingPausedException": _PAUSED,
    "MailFromDomainNotVerifiedException": _SENDER,
    "NotFoundException": _SET,
    "MessageRejected": _REFUSED,
    "BadRequestException": Refusal(_C.MESSAGE, "Amazon SES cannot read the letter"),
    "UnrecognizedClientException": _KEY,
    "InvalidClientTokenId": _KEY,
    "SignatureDoesNotMatch": _KEY,
    "InvalidSignatureException": _KEY,
    "IncompleteSignature": _KEY,
    "MissingAuthenticationToken": _KEY,
    "ExpiredTokenException": _KEY,
    "AccessDeniedException": _MAY_NOT,
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
}

ENTRIES: dict[str, Refusal] = {
    "MESSAGE_REJECTED": _REFUSED,
    "INVALID_PARAMETER": Refusal(_C.MESSAGE, "Amazon SES cannot read the letter"),
    "FAILED": _REFUSED,
    "TRANSIENT_FAILURE": Refusal(_C.TEMPORARY, "Amazon SES failed for a moment"),
    "ACCOUNT_THROTTLED": _SLOWER,
    "ACCOUNT_SUSPENDED": _SUSPENDED,
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": _QUOTA,
    "ACCOUNT_SENDING_PAUSED": _PAUSED,
    "CONFIGURATION_SET_NOT_FOUND": _SET,
    "CONFIGURATION_SET_SENDING_PAUSED": _PAUSED,
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": _SENDER,
    # The template travels with the call: SES has lost its own copy.
    "TEMPLATE_NOT_FOUND": Refusal(_C.STOP_ACCOUNT, "Amazon SES did not take the text of the letters"),
    "INVALID_SENDING_POOL_NAME": Refusal(
        _C.STOP_ACCOUNT, "The configuration_set names a pool of addresses that is not there"
    ),
}
