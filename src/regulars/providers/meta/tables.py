"""Meta's error codes: what each means for us. Source: Meta's page of Cloud API error codes.

Meta asks to decide by the code alone: titles change, and the HTTP status of one code is given
differently in different places. Some of them come only by callback (`statuses[].errors[]`).
"""

from datetime import timedelta

from regulars.providers.calling import Statuses
from regulars.providers.classes import ErrorClass, Refusal

_C = ErrorClass
_MANAGER = "in WhatsApp Manager"
# "Wait at least a day, and longer each time" (Meta, of 131049).
_DAY = timedelta(hours=24)

CODES: dict[int, Refusal] = {
    131026: Refusal(_C.PERMANENT, "Not reachable by WhatsApp", bad_address=True),
    131021: Refusal(_C.PERMANENT, "The recipient is the sender", bad_address=True),
    131030: Refusal(_C.PERMANENT, "A test number reaches only the numbers on its list"),
    130472: Refusal(_C.PERMANENT, "WhatsApp sends this person no marketing (an experiment of Meta's)"),
    131062: Refusal(_C.PERMANENT, "This message cannot be sent to a WhatsApp user id"),
    # About one country, not about the account: one foreign guest stops nobody else.
    130497: Refusal(_C.PERMANENT, "The account may not send to this country"),
    131050: Refusal(_C.OPT_OUT, "The recipient has stopped marketing from this business"),
    131049: Refusal(_C.LATER, "WhatsApp holds back marketing to this person", retry_after=_DAY, growing=True),
    131056: Refusal(
        _C.LATER, "Too many messages to this person at once", retry_after=timedelta(seconds=10), growing=True
    ),
    131047: Refusal(_C.LATER, "The 24 hours since the guest last wrote are over", retry_after=_DAY),
    130429: Refusal(_C.TEMPORARY, "The number's rate is used up"),
    4: Refusal(_C.TEMPORARY, "The app's rate is used up", retry_after=timedelta(minutes=5)),
    80007: Refusal(_C.TEMPORARY, "The account's rate is used up", retry_after=timedelta(minutes=5)),
    2: Refusal(_C.TEMPORARY, "The service is down for the moment"),
    131000: Refusal(_C.TEMPORARY, "Something went wrong at Meta"),
    131016: Refusal(_C.TEMPORARY, "The service is overloaded"),
    131057: Refusal(_C.TEMPORARY, "The account is in maintenance", retry_after=timedelta(minutes=5)),
    133016: Refusal(_C.TEMPORARY, "Too many registrations of this number"),
    100: Refusal(_C.MESSAGE, "A value is not valid"),
    131009: Refusal(_C.MESSAGE, "A value is not valid"),
    131008: Refusal(_C.MESSAGE, "A value is missing"),
    131051: Refusal(_C.MESSAGE, "This type of message is not supported"),
    131052: Refusal(_C.MESSAGE, "A file could not be read"),
    131053: Refusal(_C.MESSAGE, "A file could not be taken"),
    135000: Refusal(_C.MESSAGE, "The message was refused"),
    137000: Refusal(_C.MESSAGE, "The guest's identity key does not fit"),
    132000: Refusal(_C.STOP_TEMPLATE, "The number of template parameters is wrong: correct the template"),
    132001: Refusal(_C.STOP_TEMPLATE, "The template does not exist in this language: choose another"),
    132005: Refusal(_C.STOP_TEMPLATE, "The filled-in template is too long: shorten its values"),
    132007: Refusal(_C.STOP_TEMPLATE, "The template breaks WhatsApp's policy: change it"),
    132008: Refusal(_C.STOP_TEMPLATE, "A template value is not allowed: correct the variables"),
    132012: Refusal(_C.STOP_TEMPLATE, "A template value has the wrong form: correct the variables"),
    132015: Refusal(_C.STOP_TEMPLATE, "The template is paused for its quality: wait, or use another one"),
    132016: Refusal(_C.STOP_TEMPLATE, "The template is disabled for its quality: use another one"),
    132068: Refusal(_C.STOP_TEMPLATE, "The template's flow is blocked: use another one"),
    132069: Refusal(_C.STOP_TEMPLATE, "The template's flow is throttled: use another one"),
    0: Refusal(_C.STOP_ACCOUNT, "Meta does not accept access_token: check it, or make a new one"),
    190: Refusal(_C.STOP_ACCOUNT, "access_token has expired or is not valid: check it, or make a new one"),
    3: Refusal(_C.STOP_ACCOUNT, "The app may not do this: give it whatsapp_business_messaging"),
    10: Refusal(_C.STOP_ACCOUNT, "The app may not do this: give it whatsapp_business_messaging"),
    131005: Refusal(_C.STOP_ACCOUNT, "access_token may not use this number: give it the permission"),
    368: Refusal(_C.STOP_ACCOUNT, f"The account is blocked for breaking a policy: look {_MANAGER}"),
    131031: Refusal(_C.STOP_ACCOUNT, f"The account is locked: look {_MANAGER}"),
    131037: Refusal(_C.STOP_ACCOUNT, f"The number's display name is not approved: look {_MANAGER}"),
    131042: Refusal(_C.STOP_ACCOUNT, f"The account cannot pay: look at its payment method {_MANAGER}"),
    131045: Refusal(_C.STOP_ACCOUNT, "The number is not registered: register it"),
    131048: Refusal(_C.STOP_ACCOUNT, f"Too many people reported this number as spam: look {_MANAGER}"),
    131064: Refusal(_C.STOP_ACCOUNT, f"Limited because of wrongly classified templates: look {_MANAGER}"),
    131063: Refusal(
        _C.STOP_ACCOUNT,
        "Marketing is not allowed here: set marketing_endpoint=marketing_messages",
    ),
}
# 200 to 299: a permission that is missing or was taken away.
PERMISSIONS = range(200, 300)
NO_PERMISSION = CODES[10]

# What an answer without a code of the table means.
STATUSES = Statuses("Meta", "access_token")
