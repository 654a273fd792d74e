"""Access to the e-mail services: what may be said about them. Pure."""

from typing import Annotated

from pydantic import AnyHttpUrl, Field, SecretStr

from regulars.providers.mail import SenderOptions

Secret = Annotated[SecretStr, Field(min_length=1)]
Stream = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,29}$")]


class PostmarkOptions(SenderOptions):
    """A Postmark server. Marketing must go through a stream for broadcasts, or Postmark objects."""

    server_token: Secret
    marketing_stream: Stream = "broadcast"
    transactional_stream: Stream = "outbound"
    base_url: AnyHttpUrl = AnyHttpUrl("https://api.postmarkapp.com")


class MailgunOptions(SenderOptions):
    """A Mailgun domain. Europe's has its own address: `https://api.eu.mailgun.net/v3`."""

    api_key: Secret
    domain: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")]
    base_url: AnyHttpUrl = AnyHttpUrl("https://api.mailgun.net/v3")


class ResendOptions(SenderOptions):
    """A Resend account; a key that may only send is enough."""

    api_key: Secret
    base_url: AnyHttpUrl = AnyHttpUrl("https://api.resend.com")
