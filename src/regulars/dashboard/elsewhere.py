"""Words of other rooms that the pages translate: here, so that they reach the translators' files.

Those rooms know no languages. A test holds this list against what they say.
"""

from django.utils.translation import gettext_noop

REASONS = [
    gettext_noop("is marked “do not contact”"),
    gettext_noop("has already been contacted about this occasion"),
    gettext_noop("has no address on the channels of this automation"),
    gettext_noop("has not agreed to marketing on a channel we could use"),
    gettext_noop("has opted out, complained, or has a bad address"),
    gettext_noop("has already booked a table"),
    gettext_noop("it is too late for this occasion"),
    gettext_noop("was contacted recently by this automation or one like it"),
    gettext_noop("became due before this automation was switched on"),
    gettext_noop("has had as many messages as may be, lately"),
    gettext_noop("the month’s money for this channel is used up"),
    gettext_noop("another guest with the same address gets the message"),
    gettext_noop("the automation was switched off before the message left"),
    gettext_noop("the booking or visit changed before the message left"),
    gettext_noop("the run was cancelled before the message left"),
    gettext_noop("was held out at random, to measure the effect"),
]
TRIGGERS = [
    gettext_noop("We miss you"),
    gettext_noop("Birthday"),
    gettext_noop("VIP reward"),
    gettext_noop("After a visit"),
    gettext_noop("Reservation confirmation"),
]
