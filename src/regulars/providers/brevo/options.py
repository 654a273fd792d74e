"""Access to Brevo: what may be said about it. Pure."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, model_validator

from regulars.providers.base import Options
from regulars.providers.mail import checked_sender, one_line

SMS_SENDER = re.compile(r"[A-Za-z0-9]{1,11}|\d{1,15}")
WHATSAPP_SENDER = re.compile(r"\+?[1-9]\d{6,14}")


def _sms_sender(sender: str) -> str:
    if sender and not SMS_SENDER.fullmatch(sender):
        raise ValueError("Give a name of up to 11 letters and digits without spaces, or up to 15 digits.")
    return sender


def _whatsapp_sender(sender: str) -> str:
    if sender and not WHATSAPP_SENDER.fullmatch(sender):
        raise ValueError("Give the WhatsApp number with its country, such as 12015550100.")
    return sender


def _mail_sender(address: str) -> str:
    return checked_sender(address) if address else ""


class BrevoOptions(Options):
    """One Brevo account. Each channel needs its sender; without one, that channel is not used."""

    api_key: Annotated[SecretStr, Field(min_length=1)]
    from_address: Annotated[str, AfterValidator(_mail_sender)] = ""
    from_name: Annotated[str, AfterValidator(one_line), Field(max_length=70)] = ""
    sms_sender: Annotated[str, AfterValidator(_sms_sender)] = ""
    whatsapp_sender: Annotated[str, AfterValidator(_whatsapp_sender)] = ""
    base_url: AnyHttpUrl = AnyHttpUrl("https://api.brevo.com/v3")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.senders():
            raise ValueError("Give at least one of from_address, sms_sender and whatsapp_sender.")
        return self

    def senders(self) -> dict[str, str]:
        """The sender of each channel that has one."""
        named = {"email": self.from_address, "sms": self.sms_sender, "whatsapp": self.whatsapp_sender}
        return {channel: sender for channel, sender in named.items() if sender}
