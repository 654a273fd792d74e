"""The list, the preview and the question before a run."""

import pytest

from dashboard.pages import Page
from regulars.dashboard import words


def test_the_list_says_who_gets_it_and_why_now(signed_in, automation):
    text = Page(signed_in.get("/")).text
    assert "We miss you" in text
    assert "have not been here for 60 days." in text
    assert "Guests who came at least once and" in text
    assert "once for each time they do" in text


def test_the_preview_counts_by_verdict_and_reason(signed_in, automation, guests):
    answer = signed_in.get(f"/automations/{automation.pk}/preview")
    page = Page(answer)
    assert "has not agreed to marketing on a channel we could use" in page.text
    assert "Ana Ruiz" in page.text
    assert "Eva Sol" in page.text
    assert answer.context["preview"].send == 2
    assert answer.context["left_out"] == 1


def test_the_preview_speaks_spanish(signed_in, automation, guests):
    answer = signed_in.get(f"/automations/{automation.pk}/preview", headers={"Accept-Language": "es"})
    text = Page(answer).text
    assert "no ha aceptado publicidad en ningún canal que podamos usar" in text
    assert "Lo recibirían" in text


def test_before_a_run_the_dialog_says_how_many_would_get_it(signed_in, automation, guests):
    answer = signed_in.get(f"/automations/{automation.pk}/run", headers={"HX-Request": "true"})
    page = Page(answer)
    assert "2 guests would get a message now." in page.text
    assert "1 more is due, but would be left out." in page.text
    assert not [tag for tag, _ in page.tags if tag == "html"]


def test_with_nobody_to_write_to_the_question_says_so(signed_in, automation, venue):
    text = Page(signed_in.get(f"/automations/{automation.pk}/run")).text
    assert "Nobody would get a message now" in text
    assert "Run all the same" in text


def test_without_javascript_the_question_is_a_page(signed_in, automation, guests):
    page = Page(signed_in.get(f"/automations/{automation.pk}/run"))
    assert "2 guests would get a message now." in page.text
    assert [tag for tag, _ in page.tags if tag == "html"]


def test_running_leads_to_the_page_of_the_run(signed_in, automation, guests):
    answer = signed_in.post(f"/automations/{automation.pk}/run")
    run = automation.runs.get()
    assert answer.url == f"/runs/{run.pk}"
    assert run.origin == "manual"


def test_an_automation_that_is_off_says_so(signed_in, make_automation, guests):
    off = make_automation("Off", enabled=False)
    answer = signed_in.post(f"/automations/{off.pk}/run", follow=True)
    assert "is switched off or paused, so nothing was sent" in Page(answer).text
    assert not off.runs.exists()


def test_an_automation_without_an_account_says_what_is_missing(signed_in, automation, account, guests):
    account.delete()
    answer = signed_in.get(f"/automations/{automation.pk}/preview", follow=True)
    assert answer.redirect_chain == [("/", 302)]
    assert [tag for tag in Page(answer).tags if tag[1].get("role") == "status"]
    dialog = signed_in.get(f"/automations/{automation.pk}/run", headers={"HX-Request": "true"})
    assert dialog.headers["HX-Redirect"] == "/"


def test_a_deleted_automation_is_gone(signed_in, automation, now):
    automation.deleted_at = now
    automation.save()
    assert "We miss you" not in Page(signed_in.get("/")).text
    assert signed_in.get(f"/automations/{automation.pk}/preview").status_code == 404


@pytest.mark.parametrize(
    ("kind", "parameters", "sentence"),
    [
        ("birthday", {"lead_days": 0}, "On the birthday itself, once a year."),
        ("birthday", {"lead_days": 1}, "From 1 day before the birthday, once a year."),
        ("birthday", {"lead_days": 7}, "From 7 days before the birthday, once a year."),
        ("vip_reward", {"period": "quarter"}, "Once a quarter."),
        ("vip_reward", {"period": "rise"}, "When they rise to the tier."),
        ("post_visit", {"delay_hours": 24}, "24 hours after each visit."),
        ("something_new", {}, "When the occasion comes, once for each."),
    ],
)
def test_an_occasion_reads_as_a_sentence(kind, parameters, sentence):
    assert words.why_now(kind, parameters) == sentence


def test_every_registered_trigger_has_sentences_of_its_own():
    from regulars.automations import triggers

    for trigger in triggers.all_triggers():
        given = {"tiers": ["Gold"]} if trigger.kind == "vip_reward" else {}
        parameters = trigger.parameters.model_validate(given).model_dump()
        assert words.who_gets_it(trigger.kind, parameters, trigger.label) != trigger.label
        assert words.why_now(trigger.kind, parameters) != words.why_now("something_new", {})


@pytest.mark.parametrize(
    "kind", ["inactive", "birthday", "vip_reward", "post_visit", "reservation_confirmation"]
)
def test_a_restaurant_without_venues_or_guests_sees_an_empty_preview(signed_in, automation, kind):
    automation.trigger = kind
    automation.save()
    parameters = {"tiers": ["Gold"]} if kind == "vip_reward" else {}
    automation.versions.update(parameters=parameters)
    answer = signed_in.get(f"/automations/{automation.pk}/preview")
    assert "Nobody is due at the moment." in Page(answer).text
