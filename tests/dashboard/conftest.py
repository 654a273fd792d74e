"""A signed-in member, an automation that guests are due for, and a run that has ended."""

from datetime import timedelta

import pytest
from django.db.models import Max, Min
from django.utils import timezone

PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def _no_static_root(settings, tmp_path):
    """ServeStatic warns of a folder that is not there; nothing here serves files from it."""
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def make_member(db):
    from regulars.organizations.models import Membership, User

    def make(organization, role="owner", email="marta@example.com"):
        user = User.objects.filter(email=email).first() or User.objects.create_user(email, PASSWORD)
        Membership.objects.create(user=user, organization=organization, role=role)
        return user

    return make


@pytest.fixture
def owner(make_member, organization):
    return make_member(organization)


@pytest.fixture
def signed_in(client, owner):
    client.force_login(owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.fixture
def as_role(client, make_member, organization):
    """A client signed in with this role."""

    def sign_in(role):
        user = make_member(organization, role, f"{role}@example.com")
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
        return client

    return sign_in


@pytest.fixture
def account(organization):
    from regulars.automations.models import ProviderAccount

    return ProviderAccount.objects.create(
        organization=organization,
        name="Sandbox",
        kind="sandbox",
        channels=["whatsapp", "sms", "email"],
    )


@pytest.fixture
def make_automation(organization, account):
    from regulars.automations.models import Automation, AutomationVersion, Template

    def make(name="We miss you", *, owner=organization, enabled=True):
        automation = Automation.objects.create(
            organization=owner, name=name, trigger="inactive", enabled=enabled, version_number=1
        )
        version = AutomationVersion.objects.create(
            automation=automation,
            number=1,
            parameters={"days": 60, "min_visits": 1},
            channels=["email"],
            policy={"cooldown_days": 30},
        )
        Template.objects.create(
            version=version,
            channel="email",
            language="es",
            subject="Hola",
            body="Te echamos de menos",
        )
        return automation

    return make


@pytest.fixture
def automation(make_automation):
    return make_automation()


@pytest.fixture
def absent(make_customer, organization, venue):
    """Make a guest who has not been here for 100 days."""
    from regulars.hospitality.models import Visit

    def make(**fields):
        guest = make_customer(**fields)
        when = timezone.now() - timedelta(days=100)
        Visit.objects.create(
            organization=organization,
            customer=guest,
            venue=venue,
            visited_at=when,
            service_date=when.date(),
        )
        return guest

    return make


@pytest.fixture
def guests(absent):
    """Three due guests: two can be written to, the third has not agreed."""
    return [
        absent(first_name="Ana", last_name="Ruiz"),
        absent(first_name="Luis", last_name="Vega"),
        absent(first_name="Eva", last_name="Sol", consents=()),
    ]


@pytest.fixture
def make_run(organization, automation, account):
    """A run with one message in each of `states`, and the given skips by hand."""
    from regulars.runs.models import Message, Run, RunChunk, Skip

    def make(guests, states, *, state="finished", skips=()):
        now = timezone.now()
        run = Run.objects.create(
            organization=organization,
            automation=automation,
            version=automation.current_version,
            state=state,
            due=len(states) + len(skips),
            skipped_by_reason={reason: 1 for _, reason in skips},
            created_at=now,
            as_of=now,
            planned_at=now,
        )
        RunChunk.objects.create(
            run=run,
            number=1,
            account_id=account.pk,
            total=len(states),
            sent=states.count("sent"),
            failed=states.count("failed"),
            unknown=states.count("unknown"),
        )
        for guest, message_state in zip(guests, states, strict=False):
            Message.objects.create(
                organization_id=organization.pk,
                run=run,
                chunk_number=1,
                automation=automation,
                version_id=run.version_id,
                customer_id=guest.pk,
                occasion="lapse:2026-01-01",
                purpose="marketing",
                channel="email",
                account_id=account.pk,
                address=guest.addresses.get().address,
                due_at=now,
                send_after=now,
                state=message_state,
                error="Mailbox of guest@example.com is full" if message_state == "failed" else "",
                created_at=now,
                state_at=now,
            )
        held = Message.objects.filter(run=run).aggregate(first_id=Min("id"), last_id=Max("id"))
        RunChunk.objects.filter(run=run).update(**{name: pk or 0 for name, pk in held.items()})
        for guest, reason in skips:
            Skip.objects.create(
                organization_id=organization.pk,
                automation_id=automation.pk,
                customer_id=guest.pk,
                occasion="lapse:2026-01-01",
                reason=reason,
                run_id=run.pk,
                at=now,
            )
        return run

    return make


@pytest.fixture
def outbox_entry(organization, account):
    from regulars.runs.models import SandboxMessage

    return SandboxMessage.objects.create(
        organization_id=organization.pk,
        account_id=account.pk,
        message_id=1,
        channel="email",
        address="ana@example.com",
        subject="Hola Ana",
        body="Te echamos de menos",
        html="<html><body><p style='color:red'>Te echamos de menos</p></body></html>",
        at=timezone.now(),
    )


@pytest.fixture
def every_page(automation, guests, make_run, outbox_entry):
    """The address of each page that a member can open."""
    run = make_run(guests, ["sent", "failed", "unknown"])
    return [
        "/",
        f"/automations/{automation.pk}/preview",
        f"/automations/{automation.pk}/preview/guests",
        f"/automations/{automation.pk}/run",
        f"/automations/{automation.pk}/schedule",
        f"/automations/{automation.pk}/switch",
        "/runs",
        f"/runs/{run.pk}",
        f"/runs/{run.pk}?show=failed",
        f"/runs/{run.pk}?show=skipped",
        f"/runs/{run.pk}?show=unknown",
        f"/runs/{run.pk}?show=held",
        f"/runs/{run.pk}/cancel",
        f"/runs/{run.pk}/progress",
        f"/runs/{run.pk}/retry",
        f"/runs/{run.pk}/settle?decision=send_again",
        "/guests",
        "/guests?q=ana",
        f"/guests/{guests[0].pk}",
        f"/guests/{guests[0].pk}/erase",
        f"/guests/{guests[0].pk}/merge?other={guests[1].pk}",
        "/audit",
        "/outbox",
        "/tact",
        "/providers",
        "/providers/new",
        "/providers/new/sandbox",
        f"/providers/{run.message_set.first().account_id}",
        f"/providers/{run.message_set.first().account_id}/change",
        f"/outbox/{outbox_entry.pk}",
        "/webhooks",
    ]
