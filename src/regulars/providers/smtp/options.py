"""Access to a mail server: what may be said about it, and what must not. Pure."""

from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from regulars.providers.base import Options
from regulars.providers.mail import checked_sender, one_line

DEFAULT_PORTS = {"none": 25, "starttls": 587, "tls": 465}


Port = Annotated[int, Field(ge=1, le=65_535)]
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]*$", max_length=253)]


class SmtpOptions(Options):
    """A mail server and the sender's name.

    `security`: `starttls` (default), `tls` (encrypted from the first byte) or `none`. The port
    follows from it unless given: 587, 465, 25. Bounces come back as mail to `from_address`.
    `base_url` (`smtp://host:port`) may be given in place of `host` and `port`.
    """

    host: HostName = ""
    port: Port | None = None
    security: Literal["none", "starttls", "tls"] = "starttls"
    username: Annotated[str, AfterValidator(one_line)] = ""
    password: SecretStr = SecretStr("")
    from_address: Annotated[str, AfterValidator(checked_sender)]
    from_name: Annotated[str, AfterValidator(one_line), Field(max_length=100)] = ""
    base_url: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        host, _ = self.endpoint()
        if not host:
            raise ValueError("Give host (and port), or base_url as smtp://host:port.")
        if bool(self.username) != bool(self.password.get_secret_value()):
            raise ValueError("Give both username and password, or neither.")
        if self.username and self.security == "none" and not _is_loopback(host):
            raise ValueError("A password never travels unencrypted: use starttls or tls.")
        return self

    def endpoint(self) -> tuple[str, int]:
        """Host and port to connect to."""
        if not self.base_url:
            return self.host, self.port or DEFAULT_PORTS[self.security]
        parts = urlsplit(self.base_url)
        plain = parts.username is None and parts.path in ("", "/") and not parts.query
        if parts.scheme != "smtp" or not parts.hostname or not plain:
            raise ValueError("base_url is smtp://host:port, without user, path or query.")
        return parts.hostname, parts.port or self.port or DEFAULT_PORTS[self.security]

    def domain(self) -> str:
        """The domain of the sender, for Message-IDs and the greeting."""
        return self.from_address.rpartition("@")[2]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
