"""Meta's word about templates and accounts: the copies follow, in any order the same; who cannot go on stops."""

import itertools
from datetime import timedelta

import pytest
from tests.runs.ended import ended_run

from regulars.automations import template_sync
from regulars.automations.models import Automation, ProviderTemplate
from regulars.automations.models import Template as Text
from regulars.automations.provider_news import flagged_numbers
from regulars.callbacks.models import Callback
from regulars.lib import sql
from regulars.organizations.models import Organization
from regulars.providers.base import Approval, ListedTemplate
from regulars.runs import portfolios
from regulars.runs.models import Run

pytestmark = pytest.mark.django_db

WHEN = ("earlier", "later", "last")


@pytest.fixture
def meta(make_account):
    return make_account("meta", channels=["whatsapp"], portfolio="77", options={"business_account_id": "102"})


@pytest.fixture
def started():
    """A moment some minutes ago, after which things are told."""
    return (sql.database_now() - timedelta(minutes=10)).replace(microsecond=0)


@pytest.fixture
def template(meta, started):
    return ProviderTemplate.objects.create(
        account=meta, reference="41", name="we_miss_you", language="es", approval="approved",
        category="marketing", text="Hola", synced_at=started,
    )  # fmt: skip


@pytest.fixture
def wanting(automation, template):
    """An automation that says what the template says, with a run that is sending it."""
    automation.current_version.templates.all().delete()
    type(automation.current_version).objects.filter(automation=automation).update(channels=["whatsapp"])
    Text.objects.create(
        version=automation.current_version, channel="whatsapp", language="es", provider_template="we_miss_you"
    )
    return automation


@pytest.fixture
def tell(meta, arrive, started):
    """Meta tells this about its business account, so many minutes after the start."""

    def come(field, minute=1, account=meta, business="102", **value):
        at = int((started + timedelta(minutes=minute)).timestamp())
        entry = {"id": business, "time": at, "changes": [{"field": field, "value": value}]}
        return arrive(account, {"object": "whatsapp_business_account", "entry": [entry]})

    return come


@pytest.fixture
def tell_template(tell):
    def come(event, minute=1, **value):
        return tell("message_template_status_update", minute, event=event, message_template_id=41, **value)

    return come


def sending(automation, meta, now):
    return ended_run(automation, meta, ["sent", "queued"], now, state="sending")


def kept(template):
    template.refresh_from_db()
    return template.approval, template.category, template.quality, template.reason


@pytest.mark.parametrize(
    ("event", "words"), [("PAUSED", "is paused for its quality"), ("DISABLED", "was disabled")]
)
def test_a_template_that_may_not_be_used_stops_its_automation_with_the_reason(
    wanting, template, tell_template, apply_all, now, event, words
):
    run = sending(wanting, template.account, now)
    tell_template(event, other_info={"description": "Guests complained."})
    apply_all()
    wanting.refresh_from_db()
    run.refresh_from_db()
    assert kept(template)[0] == event.lower()
    assert words in wanting.paused_reason
    assert "Guests complained." in wanting.paused_reason
    assert (run.state, run.reason) == ("paused", wanting.paused_reason)
    assert Callback.objects.get().problem == ""


def test_what_comes_again_stops_nothing_that_a_person_let_go_on(wanting, template, tell_template, apply_all):
    for _ in range(2):
        tell_template("PAUSED", 1)
    tell_template("APPROVED", 2)
    apply_all()
    wanting.refresh_from_db()
    assert wanting.paused_reason, "a person switches it on again"
    Automation.objects.update(paused_reason="")
    tell_template("PAUSED", 1)
    apply_all()
    wanting.refresh_from_db()
    assert (kept(template)[0], wanting.paused_reason) == ("approved", "")


def test_a_crash_before_the_runs_stopped_is_made_good_when_it_comes_again(
    meta, wanting, template, tell_template, apply_all, now
):
    tell_template("PAUSED")
    apply_all()
    run = sending(wanting, meta, now)
    tell_template("PAUSED")
    apply_all()
    run.refresh_from_db()
    assert run.state == "paused"


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_in_any_order_the_latest_counts(template, tell, tell_template, apply_all, order):
    """With a fourth one at the same second as the latest: the stricter of both."""
    news = [
        lambda: tell_template("PAUSED", 1, other_info={"description": "First"}),
        lambda: tell_template("APPROVED", 2),
        lambda: tell_template("REJECTED", 2, reason="SCAM"),
    ]
    for place in order:
        news[place]()
        tell("template_category_update", place + 1, message_template_id=41, new_category=f"C{place}")
        score = ("RED", "YELLOW", "GREEN")[place]
        tell("message_template_quality_update", place + 1, message_template_id="41", new_quality_score=score)
        apply_all()
    assert kept(template) == ("rejected", "c2", "green", "SCAM")


def test_a_list_that_was_read_later_knows_what_is_told_late(template, tell_template, apply_all, started):
    ProviderTemplate.objects.update(synced_at=started + timedelta(minutes=5))
    tell_template("DISABLED", 4)
    apply_all()
    assert kept(template)[0] == "approved"


def test_a_list_that_was_asked_for_before_does_not_undo_what_was_told(
    meta, template, tell_template, apply_all, started, monkeypatch
):
    tell_template("DISABLED", 4)
    apply_all()
    listed = [ListedTemplate("41", "we_miss_you", "es", Approval.APPROVED, "marketing", "Hola, hola")]

    async def answer(provider, options):
        return listed

    monkeypatch.setattr(template_sync, "_list", answer)
    monkeypatch.setattr(template_sync, "options_of", lambda account: None)
    template_sync.synchronise(meta, started + timedelta(minutes=3))
    assert kept(template)[0] == "disabled"
    template.refresh_from_db()
    assert template.text == "Hola, hola"
    template_sync.synchronise(meta, started + timedelta(minutes=5))
    assert kept(template)[0] == "approved"


def test_another_organizations_copy_is_not_touched(template, make_account, tell, apply_all):
    theirs = Organization.objects.create(slug="other", name="Other", timezone="Europe/Madrid", language="es")
    stranger = make_account("meta", name="theirs", organization=theirs)
    tell("message_template_status_update", account=stranger, event="DISABLED", message_template_id=41)
    apply_all()
    assert kept(template)[0] == "approved"


def limit(account):
    found = portfolios.limit_of(account)
    return found and found.most


def test_the_daily_limit_follows_metas_word_and_the_owners_where_that_is_stricter(meta, tell, apply_all):
    assert limit(meta) is None
    tell("phone_number_quality_update", 2, event="DOWNGRADE", current_limit="TIER_250")
    tell("business_capability_update", 1, max_daily_conversations_per_business=2000)
    apply_all()
    assert limit(meta) == 250
    tell("business_capability_update", 3, max_daily_conversations_per_business="TIER_10K")
    apply_all()
    assert limit(meta) == 10_000
    type(meta).objects.update(recipients_per_day=500)
    assert limit(meta) == 500
    tell("business_capability_update", 4, max_daily_conversations_per_business=-1)
    apply_all()
    meta.refresh_from_db()
    assert (limit(meta), meta.told_recipients_per_day) == (500, None)


def test_a_flagged_number_is_shown_until_it_is_not(meta, tell, apply_all):
    tell("phone_number_quality_update", 2, event="FLAGGED", display_phone_number="1 201-555-0100")
    tell("phone_number_quality_update", 3, event="FLAGGED", display_phone_number="12015550101")
    tell("phone_number_quality_update", 1, event="UNFLAGGED", display_phone_number="12015550101")
    apply_all()
    meta.refresh_from_db()
    assert flagged_numbers(meta) == ["+12015550100", "+12015550101"]
    tell("phone_number_quality_update", 4, event="UNFLAGGED", display_phone_number="12015550101")
    apply_all()
    meta.refresh_from_db()
    assert flagged_numbers(meta) == ["+12015550100"]


BANNED = {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}}


def test_an_account_that_may_send_no_more_stops_its_runs(
    meta, automation, make_account, tell, apply_all, now
):
    other = make_account("meta", name="another", options={"business_account_id": "103"})
    runs = [sending(automation, account, now) for account in (meta, other)]
    tell("account_update", **BANNED)
    apply_all()
    for row in (meta, other):
        row.refresh_from_db()
    assert "locked" in meta.broken_reason
    assert other.broken_reason == ""
    states = [Run.objects.get(pk=run.pk).state for run in runs]
    assert states == ["paused", "sending"]


def test_a_ban_that_is_told_after_its_end_stops_nothing(meta, tell, apply_all):
    tell("account_update", 2, event="DISABLED_UPDATE", ban_info={"waba_ban_state": "REINSTATE"})
    tell("account_update", 1, **BANNED)
    apply_all()
    meta.refresh_from_db()
    assert meta.broken_reason == ""


def test_what_nobody_reads_is_kept_and_said(meta, tell, apply_all):
    tell("something_new", event="HELLO", of="tomorrow")
    tell("account_update", business="999", **BANNED)
    apply_all()
    said = list(Callback.objects.order_by("pk").values_list("problem", "due_at"))
    assert said == [
        ("Kept, and read by nobody: something_new HELLO", None),
        ("It is about a business that no account here belongs to.", None),
    ]
    assert b"tomorrow" in bytes(Callback.objects.order_by("pk")[0].body)
    meta.refresh_from_db()
    assert meta.broken_reason == ""
