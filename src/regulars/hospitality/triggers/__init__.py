"""The triggers of a restaurant, one file each: who is due, about what, from when until when.

Each is one query over the pack's tables. None of them knows consent, cooldowns or messages: that is
the engine's part.
"""

from regulars.automations.triggers import Trigger
from regulars.hospitality.triggers.birthday import Birthday
from regulars.hospitality.triggers.inactive import Inactive
from regulars.hospitality.triggers.post_visit import PostVisit
from regulars.hospitality.triggers.reservation_cancellation import ReservationCancellation
from regulars.hospitality.triggers.reservation_change import ReservationChange
from regulars.hospitality.triggers.reservation_confirmation import ReservationConfirmation
from regulars.hospitality.triggers.reservation_reminder import ReservationReminder
from regulars.hospitality.triggers.vip_reward import VipReward

TRIGGERS: tuple[Trigger, ...] = (
    Inactive(),
    Birthday(),
    VipReward(),
    PostVisit(),
    ReservationConfirmation(),
    ReservationReminder(),
    ReservationChange(),
    ReservationCancellation(),
)
