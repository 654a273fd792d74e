"""What goes over the wire, and what the documentation says of it. Shapes only, no rule."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field

from regulars.api.parsing import Text

Count = Annotated[int, Field(ge=0)]
Timestamp = Annotated[
    str,
    Field(
        description="ISO 8601, UTC, milliseconds",
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
        examples=["2026-03-04T10:30:00.000Z"],
    ),
]


class Strict(Schema):
    """A request body: unknown names are refused, so that a typing error is not ignored."""

    model_config = ConfigDict(extra="forbid")


class Refusal(Schema):
    """Every refusal but the run call's own: words for people, a code for programs, and details."""

    error: str
    code: str
    details: Any = Field(description="For a 422 a list of {path, problem}")


class RunAnswer(Schema):
    """What a run did so far: processed = sent + skipped + failed + held."""

    success: Literal[True] = Field(description="Whether the automation executed successfully")
    processed: Count = Field(description="Number of customers processed")
    sent: Count = Field(description="Number of messages accepted by the provider")
    skipped: Count = Field(description="Number of customers not written to, each with a reason")
    failed: Count = Field(description="Number of failed messages, those of unknown outcome included")
    held: Count = Field(default=0, description="Waiting for their time; 0 in a finished run")
    errors: list[str] = Field(default=[], description="Error messages, at most 101")
    message: str = Field(default="", description="Why the counts are not final, or all zero")
    run_id: UUID | None = Field(default=None, description="See /api/runs/{run_id}")
    timestamp: Timestamp


class RunFailure(Schema):
    """The ordered document's answer to an automation that does not exist, or cannot run."""

    success: Literal[False]
    error: str
    timestamp: Timestamp


class RunRefusal(Schema):
    """The ordered document's answer to a missing or malformed id."""

    error: str
    timestamp: Timestamp


class CronAnswer(Schema):
    """What running all that is due did."""

    success: bool
    executed: Count = Field(description="Automations that were run")
    totalSent: Count = Field(description="Messages accepted by the providers so far")  # noqa: N815
    errors: list[str] = Field(default=[], description="Automations that could not be started")


class CronResult(Schema):
    """One endpoint's answer to the master."""

    endpoint: str
    status: int = 0
    data: Any = None
    error: str = ""


class MasterAnswer(Schema):
    """What each of the scheduled endpoints answered."""

    success: bool
    master: Literal[True]
    timestamp: Timestamp
    results: list[CronResult]


class SignIn(Strict):
    """E-mail address and password; the organization only for members of several."""

    email: Annotated[Text, Field(min_length=1, max_length=254)]
    password: Annotated[Text, Field(min_length=1, max_length=1024)]
    organization: Annotated[Text, Field(max_length=63, description="Slug")] = ""


class OrganizationBrief(Schema):
    """The organization that the caller acts for."""

    slug: str
    name: str
    timezone: str
    language: str


class SessionState(Schema):
    """Who is signed in, where, as what."""

    email: str
    organization: OrganizationBrief | None
    role: str | None


class AutomationOut(Schema):
    """An automation with the content that its next run would use."""

    id: UUID
    name: str
    trigger: str
    parameters: dict[str, Any]
    conditions: dict[str, Any]
    channels: list[str]
    templates: list[dict[str, Any]]
    policy: dict[str, Any]
    schedule: dict[str, Any] | None
    next_times: list[datetime] = Field(
        description="Its next slots on the clock of its zone; none while it is off, or as it happens"
    )
    timezone: str = Field(description="The zone in which its times are meant")
    enabled: bool
    version: Count
    paused_reason: str
    due_from: datetime | None = Field(description="What fell due before is left alone; null: nothing is")
    created_at: datetime
    updated_at: datetime


class AutomationList(Schema):
    """All automations of the organization, by name."""

    items: list[AutomationOut]


class OutboxMessage(Schema):
    """What the sandbox took instead of a guest."""

    id: int
    message_id: int
    account_id: int
    channel: str
    address: str
    subject: str
    body: str
    at: datetime


class OutboxPage(Schema):
    """Newest first."""

    items: list[OutboxMessage]
    next: int | None = Field(description="Give it as `after` to read on; null at the end")


# The largest number that the database keeps.
Limit = Annotated[int, Field(ge=1, le=2_147_483_647)]


class ProviderLimits(Strict):
    """The most messages that may leave through an access, over all workers; null: no limit."""

    per_second: Limit | None = None
    per_minute: Limit | None = None
    per_day: Limit | None = Field(default=None, description="The rest leaves the next day")
    recipients_per_day: Limit | None = Field(
        default=None,
        description="WhatsApp: most different guests in any 24 hours who have not just written, all "
        "accesses of one business together; the rest leaves as room comes",
    )


class ProviderIn(ProviderLimits):
    """Access to a provider; the options are those of its kind."""

    name: Annotated[Text, Field(min_length=1, max_length=100)]
    kind: Annotated[Text, Field(min_length=1, max_length=32)]
    options: dict[str, Any] = {}
    channels: list[Literal["whatsapp", "sms", "email"]] | None = None


class ProviderChange(ProviderLimits):
    """Only what is to change; options are replaced as a whole, a secret left out or masked stays."""

    name: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    options: dict[str, Any] | None = None
    channels: list[Literal["whatsapp", "sms", "email"]] | None = None


class ProviderOut(Schema):
    """A configured access. Its secrets are never shown."""

    id: int
    name: str
    kind: str
    channels: list[str]
    options: dict[str, Any]
    per_second: int | None
    per_minute: int | None
    per_day: int | None
    recipients_per_day: int | None
    told_recipients_per_day: int | None = Field(
        description="The same by the provider's own word; the stricter of both counts"
    )
    flagged_numbers: list[str] = Field(
        description="Numbers of which the provider says that guests complain of what comes from them"
    )
    portfolio: str = Field(description="The business behind it, as the provider calls it")
    position: int
    broken_reason: str
    created_at: datetime


class ProviderTest(Schema):
    """What the provider says of an access, asked without sending anything."""

    works: bool | None = Field(description="Null: it cannot be asked without sending something")
    words: str


class ProviderList(Schema):
    """In the order in which they are tried."""

    items: list[ProviderOut]


class TemplateOut(Schema):
    """A template that the provider keeps, as it was when last synchronised."""

    reference: str = Field(description="The provider's own id")
    name: str
    language: str
    approval: Literal["approved", "pending", "rejected", "paused", "disabled"]
    category: str = Field(description="marketing, utility or authentication")
    text: str = Field(
        description="As a guest reads it, each placeholder between double braces; "
        "empty where the provider does not tell it"
    )
    placeholders: list[str] = Field(
        description="What an automation gives an expression for; where the provider does not tell them, "
        "it is taken at its own names"
    )
    reason: str = Field(description="Why it is not approved")
    unsupported: str = Field(description="A part of it that cannot be filled in here; empty: none")
    quality: str = Field(description="What guests make of it, in the provider's word; empty: it told nothing")
    synced_at: datetime


class TemplateListing(Schema):
    """The templates of one access, by name and language."""

    items: list[TemplateOut]


class SyncOut(TemplateListing):
    """What a look at the provider found."""

    paused: list[UUID] = Field(description="Automations whose template may not be used any more")


class Health(Schema):
    """Whether this installation can do its work."""

    status: Literal["ok", "degraded", "down"]
    database: bool
    worker: bool
    version: str


EVERY_REFUSAL: dict[int, type[Schema]] = dict.fromkeys((400, 401, 403, 404, 405, 415, 422, 500, 503), Refusal)


def answers(schema: type[Schema] | None, status: int = 200, *more: int) -> dict[int, Any]:
    """The responses of an operation: its own, and every refusal it shares with all others."""
    return {status: schema} | EVERY_REFUSAL | dict.fromkeys(more, Refusal)
