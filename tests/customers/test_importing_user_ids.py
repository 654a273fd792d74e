"""Guests who hide their number: user ids in files and over the API, each of one business."""

import io
import json

import pytest
from openpyxl import Workbook

from regulars.automations.models import ProviderAccount
from regulars.customers.importing import rows
from regulars.customers.models import Address, Customer
from regulars.runs.exporting import export

pytestmark = pytest.mark.django_db

USER_ID, SHARED_ID = "ES.13491208655302741918", "US.ENT.11815799212886844830"


@pytest.fixture
def business(organization):
    """An account of this business."""

    def make(portfolio):
        return ProviderAccount.objects.create(
            organization=organization, name=portfolio, kind="meta", channels=["whatsapp"], portfolio=portfolio
        )

    return make


def ways(**fields):
    found = Address.objects.filter(**fields).order_by("channel", "position", "address")
    return [(row.channel, row.address, row.portfolio, row.position) for row in found]


@pytest.mark.parametrize("user_id", [USER_ID, SHARED_ID])
def test_a_guest_may_have_nothing_but_a_user_id(importing, business, user_id):
    business("77")
    text = f"first_name,WhatsApp user ID,whatsapp_consent\nAna,{user_id},yes\n"
    summary = importing("customers", text)
    assert (summary.new, summary.rejected) == (1, [])
    assert ways() == [("whatsapp", user_id, "77", 1)]
    assert bytes(Address.objects.get().fingerprint)
    summary = importing("customers", text)
    assert (summary.new, summary.changed, summary.unchanged) == (0, 0, 1)


def test_it_stands_beside_the_number_and_a_new_one_takes_its_place(importing, business):
    business("77")
    importing("customers", f"external_id,phone,whatsapp_user_id\n1,+12015550100,{USER_ID}\n")
    importing("customers", "external_id,phone,whatsapp_user_id\n1,+12015550101,ES.new1\n")
    assert ways() == [
        ("sms", "+12015550101", "", 0),
        ("whatsapp", "+12015550101", "", 0),
        ("whatsapp", "ES.new1", "77", 1),
    ]


def test_each_business_has_its_own_and_a_correction_moves_it(importing, business):
    for portfolio in ("77", "88"):
        business(portfolio)
    head = "external_id,whatsapp_user_id,whatsapp_portfolio\n"
    importing("customers", f"{head}1,{USER_ID},77\n")
    importing("customers", f"{head}1,ES.other9,88\n")
    assert [way[1:3] for way in ways()] == [(USER_ID, "77"), ("ES.other9", "88")]
    importing("customers", f"{head}1,{USER_ID},88\n")
    assert [way[1:3] for way in ways()] == [(USER_ID, "88")]


def test_a_guest_without_external_id_is_known_by_the_user_id_of_that_business(importing, business):
    for portfolio in ("77", "88"):
        business(portfolio)
    head = "external_id,first_name,whatsapp_user_id,whatsapp_portfolio\n"
    importing("customers", f"{head},Ana,{USER_ID},77\n")
    importing("customers", f"{head}4711,Ana,{USER_ID},77\n")
    assert list(Customer.objects.values_list("external_id", flat=True)) == ["4711"]
    importing("customers", f"{head},Eva,{USER_ID},88\n")
    assert Customer.objects.count() == 2


@pytest.mark.parametrize(
    ("portfolios", "given", "column", "words"),
    [
        (["77"], ("34612345678", ""), "user_id", "is not a WhatsApp user id; it looks like ES."),
        ([], (USER_ID, ""), "user_id", "there is none yet: add it first"),
        (["77", "88"], (USER_ID, ""), "user_id", "give whatsapp_portfolio (77, 88)"),
        (["77"], (USER_ID, "99"), "portfolio", "is of no WhatsApp account here; known: 77"),
        (["77"], (USER_ID, "9" * 65), "portfolio", "is longer than 64 characters"),
    ],
)
def test_what_cannot_be_a_way_to_the_guest_says_why(
    organization, business, now, portfolios, given, column, words
):
    for name in portfolios:
        business(name)
    row = {"external_id": "1"} | dict(zip(("whatsapp_user_id", "whatsapp_portfolio"), given, strict=True))
    (answer,) = rows.upsert("customers", [row], organization, now=now)
    assert (answer.result, answer.column) == ("rejected", f"whatsapp_{column}")
    assert words in answer.reason


def test_a_workbook_has_the_same_columns(importing, business):
    business("77")
    book, file = Workbook(), io.BytesIO()
    book.active.append(["Nombre", "ID de WhatsApp"])
    book.active.append(["Ana", USER_ID])
    book.save(file)
    assert importing("customers", file.getvalue(), name="guests.xlsx").new == 1
    assert ways() == [("whatsapp", USER_ID, "77", 1)]


def test_the_guests_own_export_has_it_with_its_business(importing, business, now):
    business("77")
    importing("customers", f"external_id,whatsapp_user_id\n1,{USER_ID}\n")
    (way,) = export(Customer.objects.get(), now)["addresses"]
    assert (way["address"], way["portfolio"]) == (USER_ID, "77")
    assert json.dumps(way, default=str)
