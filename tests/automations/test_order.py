"""The list of automations: a new one takes the place that its occasion gives it (E44)."""

import pytest

from regulars.automations import order
from regulars.automations.models import Automation

pytestmark = pytest.mark.django_db


def test_a_new_automation_takes_its_place_and_leaves_the_owners_order_alone(organization):
    def make(name, trigger):
        automation = Automation.objects.create(organization=organization, name=name, trigger=trigger)
        order.place(automation)

    def names():
        return [each.name for each in order.ordered(organization)]

    make("win-back", "inactive")
    make("vip", "vip_reward")
    make("birthday", "birthday")
    make("confirmation", "reservation_confirmation")
    make("thanks", "post_visit")
    assert names() == ["confirmation", "birthday", "thanks", "vip", "win-back"]
    order.reorder(organization, [Automation.objects.get(name="win-back").pk])
    make("second vip", "vip_reward")
    assert names() == ["second vip", "win-back", "confirmation", "birthday", "thanks", "vip"]
    assert [each.position for each in order.ordered(organization)] == [1, 2, 3, 4, 5, 6]
