"""What an owner tells us about access to the Cloud API."""

from typing import Annotated, Literal

from pydantic import AnyHttpUrl, Field, SecretStr

from regulars.providers.base import Options

MARKETING_ENDPOINT = "marketing_messages"
Number = Annotated[str, Field(pattern=r"^\d{1,32}$")]
MaybeNumber = Annotated[str, Field(pattern=r"^(\d{1,32})?$")]


class MetaOptions(Options):
    """Access to one number of a WhatsApp business account.

    `phone_number_id`: Meta's id of the number, not the number. `business_account_id`: whose templates
    are used. `portfolio_id`: the business behind it; numbers of one share its daily limit and its
    guests' user ids (empty: the business account stands for it). `marketing_endpoint`: where
    templates that advertise go; Meta can require `marketing_messages` of an account.
    `product_policy`: what becomes of those that the marketing endpoint does not take.
    `marketing_callback_data`: our own message id goes there, too.
    """

    access_token: Annotated[SecretStr, Field(min_length=1)]
    phone_number_id: Number
    business_account_id: MaybeNumber = ""
    portfolio_id: MaybeNumber = ""
    marketing_endpoint: Literal["messages", "marketing_messages"] = "messages"
    product_policy: Literal["", "CLOUD_API_FALLBACK", "STRICT"] = ""
    marketing_callback_data: bool = False
    api_version: Annotated[str, Field(pattern=r"^v\d{1,3}\.\d$")] = "v23.0"
    base_url: AnyHttpUrl = AnyHttpUrl("https://graph.facebook.com")

    @property
    def root(self) -> str:
        """The address below which the API's resources are."""
        return f"{str(self.base_url).rstrip('/')}/{self.api_version}"
