"""The page of a run: live counts, what became of each message, and the way out of doubt."""

from dashboard.pages import Page
from regulars.runs.models import Message


def _progress(page):
    return next(attributes for tag, attributes in page.tags if attributes.get("id") == "progress")


def test_a_run_under_way_asks_for_its_counts_every_second(signed_in, guests, make_run):
    run = make_run(guests, ["sent", "queued", "queued"], state="sending")
    page = Page(signed_in.get(f"/runs/{run.pk}"))
    progress = _progress(page)
    assert progress["hx-trigger"] == "every 1s"
    assert progress["hx-get"] == f"/runs/{run.pk}/progress?seen=sending"
    bar = next(attributes for tag, attributes in page.tags if tag == "progress")
    assert (bar["value"], bar["max"]) == ("1", "3")


def test_a_run_that_is_over_asks_no_more(signed_in, guests, make_run):
    run = make_run(guests, ["sent", "failed"])
    assert "hx-get" not in _progress(Page(signed_in.get(f"/runs/{run.pk}")))
    answer = signed_in.get(f"/runs/{run.pk}/progress?seen=sending")
    assert answer.headers["HX-Trigger"] == "run-over"
    assert "hx-get" not in _progress(Page(answer))


def test_a_run_with_messages_for_later_looks_less_often(signed_in, guests, make_run):
    run = make_run(guests, ["sent", "queued"], state="waiting")
    assert _progress(Page(signed_in.get(f"/runs/{run.pk}")))["hx-trigger"] == "every 5s"


def test_a_screen_reader_hears_of_the_state_only_when_it_changes(signed_in, guests, make_run):
    run = make_run(guests, ["sent", "queued"], state="sending")
    again = signed_in.get(f"/runs/{run.pk}/progress?seen=sending").content.decode()
    assert "hx-swap-oob" not in again
    changed = signed_in.get(f"/runs/{run.pk}/progress?seen=planning").content.decode()
    assert "hx-swap-oob" in changed


def test_the_end_reads_as_one_sentence(signed_in, guests, make_run):
    run = make_run(guests[:2], ["sent", "failed"], skips=[(guests[2], "cooldown")])
    assert "1 of 3 sent , 1 left out , 1 failed" in Page(signed_in.get(f"/runs/{run.pk}")).text.replace(
        "sent,", "sent ,"
    ).replace("out,", "out ,")


def test_each_tab_lists_its_own(signed_in, guests, make_run):
    run = make_run(guests[:2], ["sent", "failed"], skips=[(guests[2], "cooldown")])
    sent = Page(signed_in.get(f"/runs/{run.pk}?show=sent")).text
    assert "Ana Ruiz" in sent
    assert "Luis Vega" not in sent
    failed = Page(signed_in.get(f"/runs/{run.pk}?show=failed")).text
    assert "Luis Vega" in failed
    assert "Mailbox of guest@example.com is full" in failed
    left_out = Page(signed_in.get(f"/runs/{run.pk}?show=skipped")).text
    assert "Eva Sol" in left_out
    assert "was contacted recently by this automation or one like it" in left_out
    assert signed_in.get(f"/runs/{run.pk}?show=nonsense").status_code == 404


def test_the_whole_list_of_a_run_by_hand_is_shown_while_it_is_kept(signed_in, guests, make_run, now):
    from regulars.runs.models import RunVerdict

    run = make_run(guests[:1], ["sent"])
    for ordinal, (guest, reason) in enumerate(zip(guests, (None, "cooldown", "no_consent"), strict=True)):
        RunVerdict.objects.create(
            run_id=run.pk,
            ordinal=ordinal,
            customer_id=guest.pk,
            occasion="lapse:2026-01-01",
            due_at=now,
            send_after=now,
            reason=reason,
        )
    text = Page(signed_in.get(f"/runs/{run.pk}?show=skipped")).text
    assert "Luis Vega" in text
    assert "Eva Sol" in text
    assert "Ana Ruiz" not in text


def test_unknown_messages_stand_apart_with_an_explanation(signed_in, guests, make_run):
    run = make_run(guests[:2], ["sent", "unknown"])
    answer = signed_in.get(f"/runs/{run.pk}")
    assert "Of 1 message nobody knows yet whether it arrived." in Page(answer).text
    assert answer.context["failed"] == 0
    unknown = Page(signed_in.get(f"/runs/{run.pk}?show=unknown")).text
    assert "Regulars never sends such a message again by itself" in unknown
    assert "Luis Vega" in unknown


def test_a_person_decides_an_unknown_message(signed_in, guests, make_run):
    run = make_run(guests[:1], ["unknown"])
    message = Message.objects.get(run=run)
    answer = signed_in.post(f"/messages/{message.pk}/settle", {"decision": "arrived"}, follow=True)
    assert "Your decision is recorded." in Page(answer).text
    message.refresh_from_db()
    assert message.state == "sent"
    again = signed_in.post(f"/messages/{message.pk}/settle", {"decision": "leave"}, follow=True)
    assert "decided in the meantime" in Page(again).text
    message.refresh_from_db()
    assert message.state == "sent"


def test_a_decision_that_does_not_exist_is_not_found(signed_in, guests, make_run):
    run = make_run(guests[:1], ["unknown"])
    message = Message.objects.get(run=run)
    answer = signed_in.post(f"/messages/{message.pk}/settle", {"decision": "magic"})
    assert answer.status_code == 404


def test_stopping_a_run_asks_first_and_withholds_the_rest(signed_in, guests, make_run):
    run = make_run(guests[:2], ["sent", "queued"], state="sending")
    assert "1 message has not left yet" in Page(signed_in.get(f"/runs/{run.pk}/cancel")).text
    signed_in.post(f"/runs/{run.pk}/cancel")
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert Message.objects.get(run=run, customer_id=guests[1].pk).state == "withheld"
    text = Page(signed_in.get(f"/runs/{run.pk}?show=skipped")).text
    assert "the run was cancelled before the message left" in text


def test_a_paused_run_can_go_on(signed_in, guests, make_run):
    run = make_run(guests[:1], ["queued"], state="paused")
    assert f"/runs/{run.pk}/resume" in signed_in.get(f"/runs/{run.pk}").content.decode()
    signed_in.post(f"/runs/{run.pk}/resume")
    run.refresh_from_db()
    assert run.state == "sending"


def test_without_a_worker_the_page_says_so(signed_in, guests, make_run):
    run = make_run(guests[:1], ["queued"], state="sending")
    assert "No worker is running" in Page(signed_in.get(f"/runs/{run.pk}")).text


def test_long_lists_come_in_pages(signed_in, absent, make_run, monkeypatch):
    from regulars.dashboard.views import runs

    monkeypatch.setattr(runs, "ROWS_A_PAGE", 2)
    guests = [absent(first_name=f"Guest{letter}") for letter in "ABC"]
    run = make_run(guests, ["sent"] * 3)
    first = signed_in.get(f"/runs/{run.pk}?show=sent")
    assert [each["guest"].first_name for each in first.context["rows"]] == ["GuestA", "GuestB"]
    rest = signed_in.get(f"/runs/{run.pk}?show=sent&after={first.context['next_after']}")
    assert [each["guest"].first_name for each in rest.context["rows"]] == ["GuestC"]
    assert rest.context["next_after"] is None


def test_odd_page_numbers_do_no_harm(signed_in, guests, make_run):
    run = make_run(guests[:1], ["sent"])
    for query in ("after=abc", "after=-1", "after=99999999999999999999999", "after=²"):
        assert signed_in.get(f"/runs/{run.pk}?show=sent&{query}").status_code == 200, query
    assert signed_in.get("/runs?page=x").status_code == 200
    assert signed_in.get("/outbox?before=²").status_code == 200


def test_a_purged_run_shows_its_counts_and_says_why_its_lists_are_empty(signed_in, guests, make_run):
    from datetime import timedelta

    from regulars.lib import clock
    from regulars.runs import followers

    run = make_run(guests[:2], ["sent", "unknown"], skips=[(guests[2], "cooldown")])
    before = Page(signed_in.get(f"/runs/{run.pk}")).text
    assert "were removed because of their age" not in before
    Message.objects.all().delete()
    followers.remove(clock.now(), clock.now() + timedelta(days=1))
    for tab in ("sent", "failed", "skipped", "unknown"):
        page = Page(signed_in.get(f"/runs/{run.pk}?show={tab}"))
        assert "were removed because of their age" in page.text
        assert "Sent (1)" in page.text
        assert "Decide for" not in page.text
    assert run.automation.name in Page(signed_in.get("/runs")).text
    assert signed_in.get(f"/guests/{guests[0].pk}").status_code == 200
