"""`/api/organization`: quiet hours, caps and the order of the automations over the API."""

import pytest

from regulars.automations.models import Automation

pytestmark = pytest.mark.django_db


@pytest.fixture
def client_of(person, organization, signed_in):
    made = {}

    def sign_in(role):
        if role not in made:
            made[role] = person(role, organization)
        return signed_in(made[role])

    return sign_in


def test_it_says_how_guests_are_treated(considerate, client_of, organization):
    shown = client_of("viewer").get("/api/organization").json()
    assert shown["tact"]["quiet_hours"] == {"from": "21:00:00", "until": "10:00:00"}
    assert shown["tact"]["caps"] == [{"messages": 2, "days": 7}, {"messages": 4, "days": 30}]


def test_a_manager_changes_it_and_what_is_not_named_stays(considerate, client_of, organization, venue):
    names = [Automation.objects.create(organization=organization, name=n, trigger="inactive") for n in "ab"]
    answer = client_of("manager").patch(
        "/api/organization",
        {
            "tact": {"quiet_hours": {"from": "22:00", "until": "09:00"}},
            "automations": [str(names[1].pk)],
            "venues": [{"id": venue.pk, "quiet_hours": {"from": "23:00", "until": "08:00"}}],
        },
        content_type="application/json",
    )
    assert answer.status_code == 200, answer.content
    shown = answer.json()
    assert shown["tact"]["quiet_hours"]["from"] == "22:00:00"
    assert len(shown["tact"]["caps"]) == 2
    assert [each["name"] for each in shown["automations"]] == ["b", "a"]
    assert shown["venues"][0]["quiet_hours"]["until"] == "08:00:00"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"tact": {"quiet_hours": {"from": "10:00", "until": "10:00"}}}, "quiet_hours"),
        ({"tact": {"caps": [{"messages": 0, "days": 7}]}}, "tact.caps[0].messages"),
        ({"venues": [{"id": 2147483647, "quiet_hours": None}]}, "venues[0].id"),
        ({"automations": ["00000000-0000-0000-0000-000000000000"]}, "automations"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(client_of, organization, change, path):
    answer = client_of("manager").patch("/api/organization", change, content_type="application/json")
    assert answer.status_code == 422
    assert path in [each["path"] for each in answer.json()["details"]]


def test_staff_may_look_and_not_change(client_of, organization):
    answer = client_of("staff").patch("/api/organization", {}, content_type="application/json")
    assert answer.status_code == 403


class TestTheFirstMoment:
    """Switched on over the API, an automation that would reach many starts from now on (E51)."""

    @pytest.fixture
    def crowd(self, lapsed, monkeypatch):
        from regulars.runs import guarding

        monkeypatch.setattr(guarding, "FEW", 1)
        return [lapsed() for _ in range(3)]

    def test_without_a_yes_it_starts_from_now_on(self, client_of, crowd, make_automation):
        path = f"/api/automations/{make_automation(enabled=False).pk}"
        shown = client_of("manager").post(f"{path}/enable").json()
        assert shown["due_from"]
        found = client_of("manager").get(f"{path}/preview").json()
        assert (found["send"], found["skipped_by_reason"]) == (0, {"before_start": 3})

    def test_a_yes_to_the_number_is_kept_and_one_to_less_is_refused(self, client_of, crowd, make_automation):
        path = f"/api/automations/{make_automation(enabled=False).pk}"
        manager = client_of("manager")
        assert manager.post(f"{path}/enable?reach=2").json()["code"] == "reach_grew"
        assert not manager.get(path).json()["enabled"]
        assert manager.post(f"{path}/enable?reach=3").json()["due_from"] is None
        assert manager.get(f"{path}/preview").json()["send"] == 3

    def test_what_is_on_already_is_not_asked_again(self, client_of, crowd, make_automation):
        path = f"/api/automations/{make_automation().pk}"
        answer = client_of("manager").patch(path, {"name": "other"}, content_type="application/json")
        assert answer.json()["due_from"] is None
