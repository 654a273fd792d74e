"""What a run would do: numbers, messages word for word, everybody by page and as a file."""

import csv
import io

import pytest

from dashboard.pages import Page
from regulars.dashboard.views import previews


def path_of(automation, part=""):
    return f"/automations/{automation.pk}/preview{part}"


def test_the_messages_are_shown_word_for_word(signed_in, automation, guests):
    page = Page(signed_in.get(path_of(automation)))
    assert "What they would read" in page.text
    assert "Te echamos de menos" in page.text
    assert "language es" in page.text
    frame = path_of(automation, f"/guests/{guests[0].pk}/email")
    assert frame in [link for _, link in page.links()]
    answer = signed_in.get(frame)
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "Te echamos de menos" in answer.content.decode()


def test_who_gets_nothing_has_no_message_to_look_at(signed_in, automation, guests):
    assert signed_in.get(path_of(automation, f"/guests/{guests[2].pk}/email")).status_code == 404


def test_a_message_that_cannot_be_rendered_says_why(signed_in, automation, guests):
    version = automation.current_version
    version.templates.update(body="Hola {{ customer.tier }}")
    assert "“customer.tier” has no value for this guest" in Page(signed_in.get(path_of(automation))).text


def test_a_large_audience_is_answered_in_two_steps(signed_in, automation, guests, monkeypatch):
    monkeypatch.setattr(previews, "AT_ONCE", 2)
    answer = signed_in.get(path_of(automation))
    page = Page(answer)
    assert answer.context["preview"] is None
    assert "3 Due" in page.text or "Due 3" in page.text
    (part,) = {link for _, link in page.links() if "judge" in link}
    rest = Page(signed_in.get(part, headers={"HX-Request": "true"}))
    assert "Ana Ruiz" in rest.text
    assert not [tag for tag, _ in rest.tags if tag == "html"]
    # Without JavaScript the link leads to the whole page.
    whole = Page(signed_in.get(part))
    assert "Ana Ruiz" in whole.text
    assert [tag for tag, _ in whole.tags if tag == "html"]


def test_everybody_is_listed_page_by_page(signed_in, automation, guests, monkeypatch):
    monkeypatch.setattr(previews, "GUESTS_A_PAGE", 2)
    first = Page(signed_in.get(path_of(automation, "/guests")))
    assert "Ana Ruiz" in first.text
    assert "Eva Sol" not in first.text
    (more,) = [link for _, link in first.links() if link.startswith("?after=")]
    last = Page(signed_in.get(path_of(automation, f"/guests{more}")))
    assert "Eva Sol" in last.text
    assert "has not agreed to marketing" in last.text
    assert "Next page" not in last.text


@pytest.mark.parametrize(("role", "address"), [("owner", "ana@example.com"), ("viewer", "a•••@example.com")])
def test_the_file_opens_in_a_spreadsheet(as_role, absent, automation, role, address):
    absent(first_name="=1+1", last_name="Ruiz", address="ana@example.com")
    answer = as_role(role).get(path_of(automation, "/guests.csv"))
    assert answer["Content-Disposition"] == 'attachment; filename="preview.csv"'
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["first_name"], row["verdict"], row["address"]) == ("'=1+1", "send", address)


def test_without_an_account_every_part_leads_back_to_the_list(signed_in, automation, account, guests):
    account.delete()
    for part in ("", "/guests", "/guests.csv"):
        assert signed_in.get(path_of(automation, part)).url == "/", part
    assert signed_in.get(path_of(automation, f"/guests/{guests[0].pk}/email")).status_code == 404


def test_another_organizations_preview_is_not_found(signed_in, automation, guests):
    from regulars.organizations.models import Organization

    automation.organization = Organization.objects.create(slug="other", name="Other")
    automation.save()
    for part in ("", "/guests", "/guests.csv", f"/guests/{guests[0].pk}/email"):
        assert signed_in.get(path_of(automation, part)).status_code == 404, part
