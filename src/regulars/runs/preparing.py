"""What a sender needs to know of a chunk before it sends, read once, through the ORM."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from regulars.automations import approved_texts, triggers
from regulars.automations.accounts import accounts_by_channel, options_of
from regulars.automations.approved_texts import ApprovedText, MissingText
from regulars.automations.callback_access import address_of
from regulars.automations.models import AutomationVersion, ProviderAccount, ProviderTemplate, Template
from regulars.automations.public_links import no_links
from regulars.automations.rendering import Compiled, compile_template
from regulars.customers.models import Channel, Purpose
from regulars.lib import clock
from regulars.lib.sql import compile_named, compile_query
from regulars.organizations.models import Organization
from regulars.providers import registry
from regulars.providers.base import Provider
from regulars.runs import portfolios, ways
from regulars.runs.buckets import Limits
from regulars.runs.eligibility import LAST_LOOK_RULES, Rule, case_expression
from regulars.runs.fallback import Fallback, fallback_of
from regulars.runs.models import Message, MessageState, Run, RunChunk
from regulars.runs.silences import silences
from regulars.runs.statements import CLAIM
from regulars.runs.way_out import lawful_body

# From reading to taking a chunk. With the longest turn and its last exchange and lease this stays below
# `quiet_hours.MARGIN`.
MOST_SECONDS = 15.0


Text = Compiled | ApprovedText | MissingText


@dataclass(frozen=True)
class Texts:
    """What a version says, and what its rendering needs to know."""

    trigger: triggers.Trigger
    # By (channel, language).
    templates: Mapping[tuple[str, str], Text]
    fallback_language: str
    organization: Mapping[str, str]
    # Marketing: every message tells its reader the way out (`runs.way_out`).
    advertises: bool
    # Whether guests can answer what leaves, by channel; a preview assumes it.
    takes_replies: Callable[[str], bool] = field(default=lambda _: True, kw_only=True)

    def template(self, channel: str, language: str) -> Text | None:
        """The guest's language, else the organization's, else any."""
        for wanted in (language, language[:2], self.fallback_language):
            if found := self.templates.get((channel, wanted)):
                return found
        return next((text for (way, _), text in self.templates.items() if way == channel), None)

    def mentions(self, roots: Collection[str]) -> bool:
        """Whether any template uses a variable that begins with one of these names."""
        return not self._roots().isdisjoint(roots)

    def _roots(self) -> frozenset[str]:
        return frozenset().union(*(text.roots for text in self.templates.values()))

    def details(self, references: Sequence[int]) -> tuple[str, tuple[Any, ...]] | None:
        """The query of the trigger's template variables for these references, compiled."""
        query = self.trigger.details(references) if references else None
        return None if query is None else compile_query(query)

    def venues(self, ids: Sequence[int]) -> list[tuple[str, tuple[Any, ...]]]:
        """The queries of these venues, compiled."""
        return [compile_query(query) for query in triggers.venues(ids)] if ids else []


def texts_of(version: AutomationVersion, account: ProviderAccount | None = None) -> Texts:
    """The texts of this version, ready to be rendered.

    `account`: whose templates are meant by those that a provider keeps; None: the one that WhatsApp
    messages would leave through now.
    """
    organization = version.automation.organization
    rows = list(version.templates.all())
    if account is None and any(text.provider_template for text in rows):
        account = accounts_by_channel(organization).get(Channel.WHATSAPP)
    kept = _kept(account, rows)
    trigger = triggers.get(version.automation.trigger)
    advertises = trigger.purpose == Purpose.MARKETING
    return Texts(
        trigger=trigger,
        advertises=advertises,
        templates={
            (text.channel, text.language): _text(text, account, kept, advertises=advertises) for text in rows
        },
        fallback_language=organization.language,
        organization={"name": organization.name},
    )


def _kept(
    account: ProviderAccount | None, rows: Sequence[Template]
) -> dict[tuple[str, str], ProviderTemplate]:
    if account is None or not any(text.provider_template for text in rows):
        return {}
    return approved_texts.by_name(list(account.templates.all()))


def _text(
    text: Template,
    account: ProviderAccount | None,
    kept: Mapping[tuple[str, str], ProviderTemplate],
    *,
    advertises: bool,
) -> Text:
    if not text.provider_template:
        body = lawful_body(text, advertises=advertises)
        return compile_template(text.channel, text.subject, body, text.language)
    found = approved_texts.find(kept, text.provider_template, text.language)
    if account is not None and found is not None:
        told = registry.get(account.kind).tells_places
        return approved_texts.approved_text(
            text.channel, found, text.variables, text.language, places_told=told
        )
    name = account.name if account else ""
    return MissingText(
        approved_texts.MISSING.format(account=name, name=text.provider_template, language=text.language)
    )


@dataclass(frozen=True, kw_only=True)
class Assignment(Texts):
    """One chunk with everything its sending needs; nothing in it changes while it is sent."""

    chunk: RunChunk
    run: Run
    provider: Provider
    options: Any
    claim: str
    claim_values: Mapping[str, Any]
    limits: Limits = field(default_factory=Limits)
    # How many different guests the account's business may write to in a day; None: no limit.
    recipients: portfolios.RecipientLimit | None = None
    # Where its messages go when the channel cannot reach a guest; None: they stay failed.
    fallback: Fallback | None = None
    # Who is in quiet hours (`runs.silences`); empty where nobody is, or the purpose is exempt.
    silences: Mapping[str, Any] = field(default_factory=dict)
    # When it was read, on the clock that counts suspension.
    prepared_at: float = field(default_factory=clock.boot_seconds)
    # What is in doubt is sent again by itself: the owner of a transactional automation chose so.
    at_least_once: bool = False
    # Where the provider may report about the account's messages; empty where nobody can reach us.
    callback: str = ""
    # Why links in messages would lead nowhere; empty where they do.
    no_links: str = ""

    def is_stale(self) -> bool:
        """Whether quiet hours may have begun since: a process slept between reading and taking."""
        return clock.boot_seconds() - self.prepared_at > MOST_SECONDS


class TemplateMissingError(Exception):
    """What is to be said is kept by the provider, and is not there (any more); the text says what to do."""


def prepare(chunk_id: int, now: datetime) -> Assignment | None:
    """Read what is needed to send this chunk; None when it is gone with its organization."""
    chunk = RunChunk.objects.select_related("run__automation__organization", "run__version").filter(
        pk=chunk_id
    )
    found = chunk.first()
    if found is None or found.run.version is None:
        return None
    run, version = found.run, found.run.version
    version.automation = run.automation
    account = ProviderAccount.objects.select_related("organization", "callback_access").get(
        pk=found.account_id
    )
    provider, options = registry.get(account.kind), options_of(account)
    texts = texts_of(version, account)
    windowed = ways.is_windowed(version, account, Channel.WHATSAPP)
    recipients = portfolios.limit_of(account)
    asks = _Asks((_STILL_OPEN,) if windowed else (), limited=recipients is not None)
    claim, values = _claim(found, run.automation.trigger, now, asks)
    return Assignment(
        chunk=found,
        run=run,
        provider=provider,
        options=options,
        **vars(texts)
        | {"takes_replies": functools.cache(functools.partial(provider.takes_replies, options))},
        claim=claim,
        claim_values=values | (recipients.values() if recipients else {}),
        limits=_limits(account),
        recipients=recipients,
        fallback=fallback_of(found, version, now),
        silences=_silences(run.automation.organization, texts.trigger, now),
        at_least_once=version.policy.get("delivery") == "at_least_once",
        callback=address_of(account),
        no_links=no_links(account.kind),
    )


def require_texts(work: Assignment) -> None:
    """Refuse to send a chunk of which nobody could be written to: nobody shall fail for it.

    Raises:
        TemplateMissingError: a template that the provider kept is not there any more.
    """
    chunk = work.chunk
    missing = [text for text in work.templates.values() if isinstance(text, MissingText)]
    waiting = Message.objects.filter(
        pk__range=(chunk.first_id, chunk.last_id),
        run_id=chunk.run_id,
        chunk_number=chunk.number,
        channel=Channel.WHATSAPP,
        state=MessageState.QUEUED,
    )
    if missing and waiting.exists():
        raise TemplateMissingError(missing[0].problem)


def _silences(organization: Organization, trigger: triggers.Trigger, now: datetime) -> dict[str, Any]:
    if trigger.purpose != Purpose.MARKETING:
        return {}
    found = silences(organization, now)
    return found if any(found.values()) else {}


def _limits(account: ProviderAccount) -> Limits:
    zone = account.organization.timezone
    return Limits(account.per_second, account.per_minute, account.per_day, zone)


# No template of the provider's, and the guest's last message is more than a day old by now.
_STILL_OPEN = Rule(
    "no_template",
    "",
    f"""message.channel = 'whatsapp' AND NOT EXISTS (
            SELECT 1 FROM addresses address
             WHERE address.customer_id = message.customer_id AND address.channel = message.channel
               AND address.address = message.address AND NOT {ways.closed("address", "$1")})""",
)


@dataclass(frozen=True, slots=True)
class _Asks:
    """What a claim looks at besides: further rules of the last look, and a limit of guests."""

    rules: tuple[Rule, ...]
    limited: bool


def _claim(chunk: RunChunk, kind: str, now: datetime, asks: _Asks) -> tuple[str, dict[str, Any]]:
    """The claim statement with the trigger's own last look, and what else it `asks`, compiled in."""
    condition = triggers.get(kind).still_valid(now)
    if condition is None:
        return _plain_claim(asks), {}
    # The ids are named as an array, so that only these rows are looked at, however large the ledger;
    # the chunk's range names the partition.
    query = Message.objects.filter(condition, pk__range=(chunk.first_id, chunk.last_id)).extra(
        where=["messages.id = ANY (ARRAY (SELECT due.id FROM due))"]
    )
    text, values = compile_named(query.values("id"), "valid")
    changed = Rule(
        "cancelled_before_send",
        "",
        "NOT EXISTS (SELECT 1 FROM valid WHERE valid.id = message.id)",
    )
    claim = CLAIM.format(
        objection=case_expression(LAST_LOOK_RULES, *asks.rules, changed),
        valid=f"valid AS MATERIALIZED ({text}),",
        **_parts(asks),
    )
    return claim, values


@functools.cache
def _plain_claim(asks: _Asks) -> str:
    return CLAIM.format(objection=case_expression(LAST_LOOK_RULES, *asks.rules), valid="", **_parts(asks))


def _parts(asks: _Asks) -> dict[str, str]:
    return portfolios.LIMITED if asks.limited else portfolios.NO_LIMIT
