"""The dry run, its list and its file, and why one guest gets a message or not, over HTTP."""

import csv
import io
import json

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from regulars.customers.models import Consent
from regulars.lib import spreadsheets


@pytest.fixture
def owners(owner, signed_in):
    return signed_in(owner)


def table(answer):
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))


def test_the_preview_says_who_and_why_and_writes_nothing(owners, automation, lapsed):
    from regulars.runs.models import Message, Run

    first, second = lapsed(), lapsed(consents=())
    path = f"/api/automations/{automation.pk}/preview"
    body = owners.get(path).json()
    assert (body["due"], body["send"]) == (2, 1)
    assert body["skipped_by_reason"] == {"no_consent": 1}
    assert body["by_channel"] == {"email": 1}
    assert body["delivery"] == "at_most_once"
    assert (body["held"], body["first_leaves"], body["last_leaves"]) == (0, None, None)
    rows = {row["customer_id"]: row for row in body["rows"]}
    assert rows[first.pk]["address"].endswith("@example.com")
    assert rows[first.pk]["send_after"]
    assert rows[second.pk]["words"]
    assert rows[second.pk]["send_after"] is None
    assert owners.post(path).json()["send"] == 1
    assert len(owners.get(path + "?limit=1").json()["rows"]) == 1
    assert owners.get(path + "/due").json() == {"due": 2}
    assert not Run.objects.exists()
    assert not Message.objects.exists()


def test_samples_are_the_messages_word_for_word(owners, automation, lapsed):
    lapsed(first_name="Marta")
    lapsed(first_name="")
    found = owners.get(f"/api/automations/{automation.pk}/preview").json()["samples"]
    assert [sample["body"].splitlines()[0] for sample in found] == ["Hola amigo", "Hola Marta"]
    assert all("Darse de baja: https://regulars.example.com/u/xxx" in sample["body"] for sample in found)
    assert [sample["shows"] for sample in found] == [["email", "language es", "no_first_name"], []]
    assert all(sample["html"] and not sample["problem"] for sample in found)
    assert owners.get(f"/api/automations/{automation.pk}/preview?samples=0").json()["samples"] == []


def test_the_list_comes_page_by_page(owners, automation, lapsed):
    guests = [lapsed(first_name=f"Guest {number}") for number in range(3)]
    path = f"/api/automations/{automation.pk}/preview/verdicts?limit=2"
    first = owners.get(path).json()
    assert [row["first_name"] for row in first["items"]] == ["Guest 0", "Guest 1"]
    last = owners.get(f"{path}&after={first['next']}").json()
    assert ([row["customer_id"] for row in last["items"]], last["next"]) == ([guests[2].pk], None)


def test_the_file_has_everybody_and_runs_no_formula(owners, automation, lapsed):
    lapsed(first_name="=HYPERLINK(1)", last_name="Ruiz")
    lapsed(consents=())
    answer = owners.get(f"/api/automations/{automation.pk}/preview/verdicts.csv")
    assert answer["Content-Type"].startswith("text/csv")
    one, two = table(answer)
    assert (one["first_name"], one["verdict"], one["reason"]) == ("'=HYPERLINK(1)", "send", "")
    assert one["send_after"]
    assert (two["verdict"], two["reason"], two["address"], two["send_after"]) == (
        "skip",
        "no_consent",
        "",
        "",
    )
    assert two["words"] == "has not agreed to marketing on a channel we could use"


def test_a_viewer_and_a_token_see_every_address_masked(
    automation, lapsed, owner, viewer, signed_in, by_token
):
    guest = lapsed(address="anna@example.com")
    for client in (signed_in(viewer), by_token(owner)):
        path = f"/api/automations/{automation.pk}/preview"
        for part in ("", "/verdicts"):
            text = json.dumps(client.get(path + part).json(), ensure_ascii=False)
            assert "a•••@example.com" in text
            assert "anna@example.com" not in text
        assert table(client.get(path + "/verdicts.csv"))[0]["address"] == "a•••@example.com"
        told = json.dumps(client.get(f"/api/customers/{guest.pk}/explain").json(), ensure_ascii=False)
        assert "anna@example.com" not in told
        assert "It goes to a•••@example.com" in told


def test_an_automation_without_an_account_cannot_be_previewed(owners, automation, account, lapsed):
    guest = lapsed()
    account.delete()
    for part in ("", "/due", "/verdicts", "/verdicts.csv"):
        answer = owners.get(f"/api/automations/{automation.pk}/preview{part}")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_ready"), part
    (line,) = owners.get(f"/api/customers/{guest.pk}/explain").json()["explanations"]
    assert line["verdict"] == "not_ready"
    assert "regulars provider add" in line["words"]


def test_why_a_guest_gets_it_or_not(owners, automation, lapsed, make_customer):
    guest, silent, new = lapsed(), lapsed(consents=()), make_customer()
    (yes,) = owners.get(f"/api/customers/{guest.pk}/explain").json()["explanations"]
    assert (yes["verdict"], yes["due"], yes["reason"], yes["channel"]) == ("send", True, None, "email")
    assert [fact["kind"] for fact in yes["evidence"]][-1] == "consent"
    path = f"/api/customers/{silent.pk}/explain?automation={automation.pk}"
    (no,) = owners.get(path).json()["explanations"]
    assert (no["verdict"], no["due"], no["reason"]) == ("skip", True, "no_consent")
    assert no["changes_at"] is None
    assert no["evidence"][-1]["words"] == "There is no consent on record for E-mail."
    (never,) = owners.get(f"/api/customers/{new.pk}/explain").json()["explanations"]
    assert (never["verdict"], never["due"], never["reason"]) == ("not_due", False, None)
    assert [fact["words"] for fact in never["evidence"]] == ["There is no visit on record."]


def test_a_withdrawn_consent_is_shown_with_its_date_and_source(owners, lapsed, automation, now):
    guest = lapsed(consents=())
    row = Consent.objects.create(customer=guest, channel="email", granted=False, at=now, source="STOP")
    (line,) = owners.get(f"/api/customers/{guest.pk}/explain").json()["explanations"]
    fact = line["evidence"][-1]
    assert fact["words"] == "Withdrew consent for E-mail on 15 June 2026, 14:00 (STOP)."
    assert (fact["kind"], fact["reference"]) == ("consent", row.pk)


def test_another_organizations_automation_explains_nothing(owners, lapsed, automation, other_organization):
    automation.organization = other_organization
    automation.save()
    guest = lapsed()
    path = f"/api/customers/{guest.pk}/explain"
    assert owners.get(path).json()["explanations"] == []
    assert owners.get(f"{path}?automation={automation.pk}").status_code == 404


def test_an_asynchronous_server_gets_the_file_block_by_block():
    taken = []

    def rows():
        for number in range(2_500):
            taken.append(number)
            yield [number]

    async def read():
        blocks = spreadsheets.from_thread(spreadsheets.csv_blocks(["n"], rows()))
        return [(len(taken), block.count("\n")) async for block in blocks]

    assert async_to_sync(read)() == [(0, 1), (1_000, 1_000), (2_000, 1_000), (2_500, 500)]


def test_a_reader_who_leaves_ends_the_file():
    ended = []

    def rows():
        try:
            while True:
                yield [timezone.now()]
        finally:
            ended.append(True)

    async def read():
        blocks = spreadsheets.from_thread(spreadsheets.csv_blocks(["at"], rows()))
        await anext(blocks)
        await anext(blocks)
        await blocks.aclose()

    async_to_sync(read)()
    assert ended
