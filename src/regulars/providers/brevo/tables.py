"""Brevo's error codes (`code` of an error's body): what each means for us.

Source: the error model of Brevo's own SDK and its documentation. Brevo does not say whether an
address or the rest of a request is at fault, except in its own words.
"""

import re

from regulars.providers.calling import Statuses
from regulars.providers.classes import ErrorClass, Refusal

_C = ErrorClass

STATUSES = Statuses("Brevo", "api_key")

CODES: dict[str, Refusal] = {
    "invalid_parameter": Refusal(_C.MESSAGE, "Brevo refuses a part of the message"),
    "missing_parameter": Refusal(_C.MESSAGE, "Brevo misses a part of the message"),
    "out_of_range": Refusal(_C.MESSAGE, "A part of the message is too long or too large for Brevo"),
    # Nothing here sends a call twice: somebody in between has, and the first one was taken. Its ids
    # are lost with its answer.
    "duplicate_request": Refusal(_C.UNKNOWN, "Brevo has seen this call before and answers no more of it"),
    "not_enough_credits": Refusal(_C.STOP_ACCOUNT, "The Brevo account is out of credit: buy more there"),
    "permission_denied": Refusal(_C.STOP_ACCOUNT, "The api_key may not do this: allow it at Brevo"),
    "unauthorized": Refusal(_C.STOP_ACCOUNT, "Brevo does not accept api_key: check it"),
    "account_under_validation": Refusal(
        _C.STOP_ACCOUNT, "Brevo is still looking at the new account: ask its support"
    ),
}

TOO_MANY = Refusal(_C.TEMPORARY, "Too many requests for the Brevo account")

# What Brevo says where the recipient is at fault.
BAD_ADDRESS = re.compile(
    r"invalid (tele)?phone number|invalid recipient|email is not valid in to\b|not a valid .*number",
    re.IGNORECASE,
)
INVALID = {
    "email": Refusal(_C.PERMANENT, "Invalid address", bad_address=True),
    "sms": Refusal(_C.PERMANENT, "Invalid phone number", bad_address=True),
    "whatsapp": Refusal(_C.PERMANENT, "Invalid phone number", bad_address=True),
}

# What Brevo says where the template, or what it is filled in with, is at fault.
BAD_TEMPLATE = re.compile(r"template|\bparams?\b", re.IGNORECASE)
WRONG_TEMPLATE = Refusal(
    _C.STOP_TEMPLATE, "Brevo refuses the template: compare its state, and what its places are called there"
)
