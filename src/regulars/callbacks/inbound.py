"""What guests write: kept to their timeline, a stop or start carried out, confirmed at most once.

One transaction for each: after a crash it is there with all that follows from it, or comes again. What comes
twice is known by the provider's own number; what comes late changes nothing that was said after it.
"""

from datetime import datetime, timedelta

from django.db import transaction

from regulars.automations.models import CallbackAccess, ProviderAccount
from regulars.callbacks import meanings, opting
from regulars.callbacks.meanings import Decision
from regulars.callbacks.models import InboundMessage, Intent, Reply
from regulars.callbacks.opting import Place
from regulars.customers import service_window
from regulars.customers.addresses import set_whatsapp_user_id
from regulars.customers.models import Customer
from regulars.providers.callbacks import Choice, Inbound
from regulars.runs.models import Message

MOST_TEXT = 4_096
# A reply answers the newest message of so many days.
ANSWERS_WITHIN = timedelta(days=7)


@transaction.atomic
def take(said: Inbound | Choice, account: ProviderAccount, access: CallbackAccess, now: datetime) -> bool:
    """Keep it and do what it says; whether a confirmation waits to be sent. `now`: when it came in.

    `account` is the one that was called at; several of one vendor may share an address.
    """
    place = Place(account.organization, said.channel, said.address)
    place.hold()
    if InboundMessage.objects.filter(organization=account.organization, key=said.key).exists():
        return False
    if isinstance(said, Inbound) and said.to:
        account = _written_to(account, said.to)
    customers = place.customers() if said.address else []
    at = min(said.at or now, now)
    decision = _decide(said, place, access, now)
    rows = _keep(said, account, customers, decision, at, now)
    if isinstance(said, Inbound) and said.address:
        # Whoever writes may be answered freely for a while.
        service_window.note_inbound(place.organization, said.channel, said.address, at)
        if decision.intent != Intent.WRONG_PERSON:
            _learn_user_id(said, account, customers)
    if decision.intent == Intent.TEXT or not said.address or _said_otherwise_since(place, at):
        return False
    changed = _follow(decision.intent, place, customers, at, said)
    return changed and _confirm(said, rows[0], access, place, customers, now)


def _learn_user_id(said: Inbound, account: ProviderAccount, customers: list[Customer]) -> None:
    """Keep it beside the number: by it the guest is known, and reached, once the number is hidden."""
    if said.user_id and account.portfolio:
        for customer in customers:
            set_whatsapp_user_id(customer, account.portfolio, said.user_id)


def _written_to(account: ProviderAccount, sender: str) -> ProviderAccount:
    """The account of the same vendor whose sender it is; the one that was called at where none says so."""
    same = ProviderAccount.objects.filter(organization=account.organization, kind=account.kind)
    named = [one for one in same.select_related("organization") if sender in one.options.values()]
    return account if account in named or not named else named[0]


def _decide(said: Inbound | Choice, place: Place, access: CallbackAccess, now: datetime) -> Decision:
    if isinstance(said, Choice):
        return Decision(Intent.STOP if said.stop else Intent.START)
    decision = meanings.decide(said.text, _answered_purpose(place, now), access.stop_words)
    if not said.address and decision.intent != Intent.TEXT:
        # Somebody without a number: a person has to find out who.
        return Decision(decision.intent, needs_attention=True)
    return decision


def _answered_purpose(place: Place, now: datetime) -> str:
    """The purpose of the newest message that was handed over to this address lately; empty: none was."""
    sent = Message.objects.filter(
        organization_id=place.organization.pk, address=place.address, channel=place.channel
    )
    lately = sent.filter(accepted_at__gt=now - ANSWERS_WITHIN).order_by("-accepted_at")
    return lately.values_list("purpose", flat=True).first() or ""


def _keep(
    said: Inbound | Choice,
    account: ProviderAccount,
    customers: list[Customer],
    decision: Decision,
    at: datetime,
    now: datetime,
) -> list[InboundMessage]:
    text = said.words if isinstance(said, Choice) else said.text
    return InboundMessage.objects.bulk_create(
        InboundMessage(
            organization=account.organization,
            account=account,
            customer=customer,
            channel=said.channel,
            address=said.address,
            key=said.key,
            text=text[:MOST_TEXT],
            intent=decision.intent,
            needs_attention=decision.needs_attention,
            at=at,
            received_at=now,
        )
        for customer in (customers or (None,))
    )


def _said_otherwise_since(place: Place, at: datetime) -> bool:
    """Whether a later stop or start of the same address has been carried out already."""
    later = InboundMessage.objects.filter(organization=place.organization, address=place.address, at__gt=at)
    return later.filter(channel=place.channel).exclude(intent=Intent.TEXT).exists()


def _follow(
    intent: str, place: Place, customers: list[Customer], at: datetime, said: Inbound | Choice
) -> bool:
    words = "chosen in the app" if isinstance(said, Choice) else said.text.strip()[:60]
    source = f"{place.channel} reply: {words}"
    match intent:
        case Intent.STOP:
            return opting.stop(place, customers, at, source)
        case Intent.START:
            return opting.start(place, at, source)
    opting.wrong_person(place, at, source)
    # Nothing is told to whoever does not want to hear of us, and is no guest.
    return False


def _confirm(
    said: Inbound | Choice,
    row: InboundMessage,
    access: CallbackAccess,
    place: Place,
    customers: list[Customer],
    now: datetime,
) -> bool:
    """Let one confirmation wait; not where the provider has given it, or somebody else said never."""
    if isinstance(said, Choice) or said.answered or not access.confirms or not may_be_told(place, customers):
        return False
    language = next((one.language for one in customers if one.language), "")
    house = place.organization
    body = meanings.confirmation(row.intent, language, house.language, house.name, place.channel)
    Reply.objects.create(inbound=row, body=body, created_at=now, state_at=now)
    return True


def forget_strangers(before: datetime) -> int:
    """Remove what was written before then by people nobody knows; returns how many rows went.

    What it led to stays: a stop binds the address by its fingerprint, with its source (GDPR 5(1)(e)).
    """
    removed, _ = InboundMessage.objects.filter(customer=None, received_at__lt=before).delete()
    return removed


def may_be_told(place: Place, customers: list[Customer]) -> bool:
    """Whether even a confirmation may go there: nobody is banned, and nothing but an opt-out stands."""
    if any(customer.do_not_contact for customer in customers):
        return False
    return not place.is_bad() and all(row.reason == opting.OPT_OUT for row in place.suppressions())
