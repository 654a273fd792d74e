"""Twilio's error codes: what each means for us. Source: Twilio's API description and dictionary.

The same numbers come as the answer to a request and, later, as `ErrorCode` of a status callback
(30001-30034 only there).
"""

from datetime import timedelta

from regulars.providers.classes import ErrorClass, Refusal

_C = ErrorClass
# Growing delays are asked for; a day is the first that makes a difference to Meta's limit.
_MARKETING_LIMIT = timedelta(hours=24)
_CONSOLE = "in Twilio's console"
_CREDIT = f"it may be out of credit, look {_CONSOLE}"

CODES: dict[int, Refusal] = {
    21211: Refusal(_C.PERMANENT, "Invalid phone number", bad_address=True),
    21214: Refusal(_C.PERMANENT, "Phone number cannot be reached", bad_address=True),
    21217: Refusal(_C.PERMANENT, "Invalid phone number", bad_address=True),
    21614: Refusal(_C.PERMANENT, "Not a mobile number", bad_address=True),
    21612: Refusal(_C.PERMANENT, "No route from this sender to this number"),
    # About one country, not about the account: one foreign guest stops nobody else. Where it meets
    # everybody, the breaker pauses the account after fifty.
    21408: Refusal(_C.PERMANENT, f"The Twilio account may not send to this country: enable it {_CONSOLE}"),
    30034: Refusal(_C.PERMANENT, f"The US number is not registered for 10DLC: register it {_CONSOLE}"),
    30003: Refusal(_C.PERMANENT, "Phone is off or out of reach"),
    30004: Refusal(_C.PERMANENT, "Blocked by the carrier or the recipient"),
    30005: Refusal(_C.PERMANENT, "Unknown phone number", bad_address=True),
    30006: Refusal(_C.PERMANENT, "Landline or unreachable carrier", bad_address=True),
    63003: Refusal(_C.PERMANENT, "Address not found on this channel", bad_address=True),
    63024: Refusal(_C.PERMANENT, "Invalid WhatsApp recipient", bad_address=True),
    63032: Refusal(_C.PERMANENT, "WhatsApp limits messages to this person"),
    21610: Refusal(_C.OPT_OUT, "The recipient has unsubscribed"),
    63014: Refusal(_C.OPT_OUT, "Blocked by the recipient"),
    63049: Refusal(
        _C.LATER, "WhatsApp holds back marketing to this person", retry_after=_MARKETING_LIMIT, growing=True
    ),
    20429: Refusal(_C.TEMPORARY, "Too many requests at once"),
    21611: Refusal(_C.TEMPORARY, "The sender's queue is full"),
    30001: Refusal(_C.TEMPORARY, "The sender's queue overflowed"),
    63017: Refusal(_C.TEMPORARY, "The account's rate is used up"),
    63018: Refusal(_C.TEMPORARY, "The channel's rate is used up"),
    30008: Refusal(_C.TEMPORARY, "Delivery failed for an unknown reason"),
    21617: Refusal(_C.STOP_TEMPLATE, "The text is longer than 1,600 characters: shorten the template"),
    63013: Refusal(_C.STOP_TEMPLATE, "The text breaks the channel's policy: change the template"),
    63016: Refusal(_C.STOP_TEMPLATE, "Outside the 24 hour window WhatsApp takes only approved text: use one"),
    63021: Refusal(_C.STOP_TEMPLATE, "The channel refuses the content: change the template"),
    63027: Refusal(_C.STOP_TEMPLATE, "The template does not exist in this language: add it at Twilio"),
    63028: Refusal(_C.STOP_TEMPLATE, "The number of template parameters is wrong: correct the template"),
    63029: Refusal(_C.STOP_TEMPLATE, "The template's media or content is refused: correct the template"),
    63030: Refusal(_C.STOP_TEMPLATE, "A template parameter is not supported: correct the template"),
    30007: Refusal(_C.STOP_TEMPLATE, "Filtered as unwanted by Twilio or a carrier: change the template"),
    20003: Refusal(_C.STOP_ACCOUNT, "Twilio does not accept account_sid and auth_token: check both"),
    20005: Refusal(_C.STOP_ACCOUNT, f"The Twilio account is not active: {_CREDIT}"),
    20404: Refusal(_C.STOP_ACCOUNT, "Twilio does not know this account: check account_sid"),
    21603: Refusal(_C.STOP_ACCOUNT, "The sender is missing: check 'from'"),
    21606: Refusal(_C.STOP_ACCOUNT, "The sender may not send SMS: check 'from'"),
    21659: Refusal(_C.STOP_ACCOUNT, "The sender does not belong to the account: check 'from'"),
    # About the account, although it names a number: nobody but its owner's own phones can be reached.
    21608: Refusal(_C.STOP_ACCOUNT, f"Trial accounts reach verified numbers only: upgrade yours {_CONSOLE}"),
    30002: Refusal(_C.STOP_ACCOUNT, f"The Twilio account is suspended: {_CREDIT}"),
    63007: Refusal(_C.STOP_ACCOUNT, "Twilio finds no WhatsApp sender of this name: check 'from'"),
    63020: Refusal(_C.STOP_ACCOUNT, f"The Meta business manager is not linked: link it {_CONSOLE}"),
    63062: Refusal(_C.STOP_ACCOUNT, "Meta's terms for marketing messages are not accepted: accept them"),
}

# Answers without a code of the table above. 401 is about the credentials whatever the code.
UNAUTHORIZED = Refusal(_C.STOP_ACCOUNT, CODES[20003].words)
# "A 429 is never processed and always safe to retry" (Twilio).
TOO_MANY = Refusal(_C.TEMPORARY, "Too many requests at once")
# Without a code it was not Twilio's API that answered: every message would meet the same.
NOT_THE_API = Refusal(_C.STOP_ACCOUNT, "No Twilio API at this address: check base_url")
REFUSED = Refusal(_C.MESSAGE, "Twilio refuses the message")
UNCLEAR = Refusal(_C.UNKNOWN, "Twilio's answer does not say whether the message was taken")
