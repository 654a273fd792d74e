"""What an owner tells us about access to Twilio."""

import re
from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, ConfigDict, Field, SecretStr, model_validator

from regulars.providers.base import Options

SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
# E.164, or a short code.
NUMBER = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}")
# An alphanumeric sender needs a letter.
NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +_&-]{1,11}")
# WhatsApp knows no short codes and no names.
FULL_NUMBER = re.compile(r"\+[1-9]\d{6,14}")


def _known_form(sender: str | None) -> str | None:
    if sender is None or any(form.fullmatch(sender) for form in (SERVICE, NUMBER, NAME)):
        return sender
    raise ValueError(
        "Give a number such as +12015550100, a name of up to 11 letters and digits, "
        "or a Messaging Service (MG and 32 hexadecimal digits)."
    )


def _whatsapp_form(sender: str) -> str:
    if not sender or SERVICE.fullmatch(sender) or FULL_NUMBER.fullmatch(sender):
        return sender
    raise ValueError(
        "Give a number such as +12015550100, or a Messaging Service (MG and 32 hexadecimal digits)."
    )


class TwilioOptions(Options):
    """Access to one Twilio account and the senders it uses.

    `from`: who sends SMS: a number in E.164, a short code, a name of up to 11 characters, or `MG...`,
    a Messaging Service. `whatsapp_from`: who sends WhatsApp: a number or a service. One of the two is
    needed. `validity_seconds`: how long Twilio may try; short, so that a message held up in the
    evening does not arrive at three in the morning.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-fA-F]{32}$")]
    auth_token: Annotated[SecretStr, Field(min_length=1)]
    sender: Annotated[str | None, Field(alias="from"), AfterValidator(_known_form)] = None
    whatsapp_from: Annotated[str, AfterValidator(_whatsapp_form)] = ""
    base_url: AnyHttpUrl = AnyHttpUrl("https://api.twilio.com")
    content_url: AnyHttpUrl = AnyHttpUrl("https://content.twilio.com")
    validity_seconds: Annotated[int, Field(ge=6, le=36_000)] = 14_400

    @model_validator(mode="after")
    def _has_a_sender(self) -> "TwilioOptions":
        if self.sender is None and not self.whatsapp_from:
            raise ValueError("Give from (who sends SMS), whatsapp_from (who sends WhatsApp), or both.")
        return self
