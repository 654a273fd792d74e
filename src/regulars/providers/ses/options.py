"""Access to Amazon SES: what may be said about it. Pure."""

from typing import Annotated

from pydantic import AnyHttpUrl, Field, SecretStr

from regulars.providers.mail import SenderOptions


class SesOptions(SenderOptions):
    """A key of an AWS user that may send and look at the account (`ses:SendEmail`,
    `ses:SendBulkEmail`, `ses:GetAccount`), and the region whose identities are used.

    `configuration_set` names where SES reports what became of a letter; without one it does not.
    `base_url`: the region's own address unless given.
    """

    access_key_id: Annotated[str, Field(pattern=r"^[A-Z0-9]{16,128}$")]
    secret_access_key: Annotated[SecretStr, Field(min_length=1)]
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    configuration_set: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    base_url: AnyHttpUrl | None = None

    def base(self) -> str:
        """The address of the API, without a slash at its end."""
        return str(self.base_url or f"https://email.{self.region}.amazonaws.com").rstrip("/")
