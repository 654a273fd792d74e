"""The page behind the link: what scanners, mail programs and guests do with it."""

import pytest
from django.utils import timezone

from dashboard.pages import Page
from regulars.customers import consent
from regulars.customers.models import Consent, Customer, Suppression
from regulars.customers.unsubscribe_links import Link, sign
from regulars.dashboard import guest_words
from regulars.runs import rights
from regulars.runs.models import Message

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def message(absent, make_run):
    guest = absent(first_name="Ana", consents=("email", "sms"))
    make_run([guest], ["sent"])
    return Message.objects.get()


@pytest.fixture
def link(message):
    return f"/u/{sign(Link(message.customer_id, message.pk, 'email'))}"


def allowed(message):
    held = Consent.objects.filter(customer_id=message.customer_id, is_current=True, granted=True)
    return set(held.values_list("channel", flat=True))


def test_one_click_stops_the_channel_and_the_ledger_says_why(client, link, message):
    answer = client.post(link, ONE_CLICK)
    assert (answer.status_code, answer.content, answer.cookies) == (200, b"Unsubscribed.\n", {})
    assert allowed(message) == {"sms"}
    said = Consent.objects.get(channel="email", is_current=True)
    assert (said.source, said.evidence) == ("one click in the mail program", {"message": message.pk})
    assert Suppression.objects.get().channel == "email"


@pytest.mark.parametrize(
    "body",
    [
        ("List-Unsubscribe=One-Click", "application/x-www-form-urlencoded"),
        ("", "application/x-www-form-urlencoded"),
        ("--b\r\nnot a form", "multipart/form-data; boundary=b"),
        ("--b\r\nnot a form", "multipart/form-data"),
    ],
    ids=["form", "empty", "broken", "without a boundary"],
)
def test_however_a_mail_program_words_its_click_it_counts(client, link, message, body):
    assert client.post(link, body[0], content_type=body[1]).status_code == 200
    assert allowed(message) == {"sms"}


def test_a_second_click_changes_nothing(client, link, message):
    client.post(link, ONE_CLICK)
    before = Consent.objects.count()
    assert client.post(link, ONE_CLICK).status_code == 200
    assert Consent.objects.count() == before


@pytest.mark.parametrize("method", ["get", "head"])
def test_looking_changes_nothing_and_leaves_no_trace(client, link, message, method):
    answer = getattr(client, method)(link)
    assert (answer.status_code, answer.cookies) == (200, {})
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert allowed(message) == {"email", "sms"}


def test_the_page_speaks_the_guest_s_language_and_loads_no_script(client, link, message):
    page = Page(client.get(link, headers={"Accept-Language": "de"}))
    assert ("html", {"lang": "es"}) in page.tags
    assert "No quiero recibir nada más" in page.text
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "iframe")]
    Customer.objects.update(language="en")
    assert "No more, on any channel" in Page(client.get(link)).text


def test_the_guest_keeps_one_channel(client, link, message):
    client.post(link, {"choices": "1", "channel": ["sms"]})
    assert allowed(message) == {"sms"}


def test_the_guest_wants_no_more_at_all(client, link, message):
    answer = client.post(link, {"choices": "1", "channel": ["sms", "email"], "none": "1"})
    assert "no recibirás más" in Page(answer).text
    assert allowed(message) == set()


def test_the_guest_thinks_better_of_it(client, link, message):
    client.post(link, ONE_CLICK)
    client.post(link, {"choices": "1", "channel": ["email", "sms"]})
    assert allowed(message) == {"email", "sms"}
    assert not Suppression.objects.exists()
    said = Consent.objects.get(channel="email", is_current=True)
    assert said.wording == "Casa Pepe puede enviarme novedades y ofertas."


def test_a_link_gives_no_yes_for_another_channel(client, link, message):
    guest = message.customer_id
    consent.record(
        Customer.objects.get(pk=guest), "sms", "marketing", False, source="STOP", at=timezone.now()
    )
    client.post(link, {"choices": "1", "channel": ["email", "sms", "whatsapp"]})
    assert allowed(message) == {"email"}


def test_every_wrong_link_gets_the_same_page_and_asks_nothing_of_the_database(
    client, db, django_assert_num_queries, message
):
    right = sign(Link(message.customer_id, message.pk, "email"))
    wrong = ["x", "x" * 44, right[:-1] + ("B" if right.endswith("A") else "A")]
    with django_assert_num_queries(0):
        answers = [client.get(f"/u/{token}") for token in wrong]
        answers += [client.post(f"/u/{token}", ONE_CLICK) for token in wrong]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}


def test_a_link_whose_guest_is_gone_looks_like_a_wrong_one(client, db):
    gone = client.get(f"/u/{sign(Link(2**40, 1, 'email'))}")
    assert gone.content == client.get("/u/x").content


def test_a_link_works_when_its_message_has_been_purged(client, link, message):
    Message.objects.all().delete()
    client.post(link, ONE_CLICK)
    assert allowed(message) == {"sms"}


def test_whoever_shares_the_address_is_left_alone_too(client, link, message, make_customer):
    partner = make_customer(address=message.address)
    client.post(link, ONE_CLICK)
    assert not Consent.objects.get(customer=partner, is_current=True).granted


def test_the_link_of_somebody_who_turned_out_to_be_another_guest_is_that_one_s(
    client, link, message, make_customer
):
    one = make_customer(consents=("email",))
    rights.merge(one, Customer.objects.get(pk=message.customer_id), timezone.now())
    client.post(link, ONE_CLICK)
    assert not Consent.objects.get(customer=one, channel="email", is_current=True).granted


@pytest.mark.parametrize("language", ["en", "es", "ca", "fr", "de", "it", "pt", "nl"])
def test_every_language_has_all_the_words(client, link, language):
    Customer.objects.update(language=f"{language}-XX")
    page = Page(client.post(link, {"choices": "1", "none": "1"}))
    texts = guest_words.texts_of(language)
    assert ("html", {"lang": language}) in page.tags
    for text in (texts["stopped"], texts["none"], texts["save"], texts["bookings"]):
        assert text in page.text
    assert set(texts) == set(guest_words.texts_of("en"))


@pytest.mark.parametrize(
    ("accepted", "spoken"),
    [("de-AT,de;q=0.9,en;q=0.5", "de"), ("ja,ca;q=0.8", "ca"), ("", "en"), ("*", "en")],
)
def test_a_wrong_link_is_explained_in_the_language_of_the_browser(client, db, accepted, spoken):
    answer = client.get("/u/x", headers={"Accept-Language": accepted})
    assert guest_words.texts_of(spoken)["wrong"] in Page(answer).text
    assert "Accept-Language" in answer.headers["Vary"]
