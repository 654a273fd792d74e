"""What a sender needs to know of a chunk before it sends, read once, through the ORM."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from regulars.automations import triggers
from regulars.automations.accounts import options_of
from regulars.automations.callback_access import address_of
from regulars.automations.models import AutomationVersion, ProviderAccount
from regulars.automations.public_links import no_links
from regulars.automations.rendering import Compiled, compile_template
from regulars.customers.models import Purpose
from regulars.lib import clock
from regulars.lib.sql import compile_named, compile_query
from regulars.organizations.models import Organization
from regulars.providers import registry
from regulars.providers.base import Provider
from regulars.runs.buckets import Limits
from regulars.runs.eligibility import LAST_LOOK_RULES, Rule, case_expression
from regulars.runs.models import Message, Run, RunChunk
from regulars.runs.silences import silences
from regulars.runs.statements import CLAIM
from regulars.runs.way_out import lawful_body

# From reading to taking a chunk. With the longest turn and its last exchange and lease this stays below
# `quiet_hours.MARGIN`.
MOST_SECONDS = 15.0


@dataclass(frozen=True)
class Texts:
    """What a version says, and what its rendering needs to know."""

    trigger: triggers.Trigger
    # By (channel, language).
    templates: Mapping[tuple[str, str], Compiled]
    fallback_language: str
    organization: Mapping[str, str]
    # Marketing: every message tells its reader the way out (`runs.way_out`).
    advertises: bool
    # Whether guests can answer what leaves, by channel; a preview assumes it.
    takes_replies: Callable[[str], bool] = field(default=lambda _: True, kw_only=True)

    def template(self, channel: str, language: str) -> Compiled | None:
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


def texts_of(version: AutomationVersion) -> Texts:
    """The texts of this version, ready to be rendered."""
    organization = version.automation.organization
    trigger = triggers.get(version.automation.trigger)
    advertises = trigger.purpose == Purpose.MARKETING
    return Texts(
        trigger=trigger,
        advertises=advertises,
        templates={
            (text.channel, text.language): compile_template(
                text.channel, text.subject, lawful_body(text, advertises=advertises), text.language
            )
            for text in version.templates.all()
        },
        fallback_language=organization.language,
        organization={"name": organization.name},
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
    texts = texts_of(version)
    claim, values = _claim(found, run.automation.trigger, now)
    return Assignment(
        chunk=found,
        run=run,
        provider=provider,
        options=options,
        **vars(texts) | {"takes_replies": functools.partial(provider.takes_replies, options)},
        claim=claim,
        claim_values=values,
        limits=_limits(account),
        silences=_silences(run.automation.organization, texts.trigger, now),
        at_least_once=version.policy.get("delivery") == "at_least_once",
        callback=address_of(account),
        no_links=no_links(account.kind),
    )


def _silences(organization: Organization, trigger: triggers.Trigger, now: datetime) -> dict[str, Any]:
    if trigger.purpose != Purpose.MARKETING:
        return {}
    found = silences(organization, now)
    return found if any(found.values()) else {}


def _limits(account: ProviderAccount) -> Limits:
    zone = account.organization.timezone
    return Limits(account.per_second, account.per_minute, account.per_day, zone)


def _claim(chunk: RunChunk, kind: str, now: datetime) -> tuple[str, dict[str, Any]]:
    """The claim statement with the trigger's own last look compiled in."""
    condition = triggers.get(kind).still_valid(now)
    if condition is None:
        return _plain_claim(), {}
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
        objection=case_expression(LAST_LOOK_RULES, changed), valid=f"valid AS MATERIALIZED ({text}),"
    )
    return claim, values


@functools.cache
def _plain_claim() -> str:
    return CLAIM.format(objection=case_expression(LAST_LOOK_RULES), valid="")
