"""Who comes to the demo restaurant: two thousand guests, made the same way every time.

Owns the cast, in plain data without a database. The first guests have parts in the ordered
document's example (45 processed, 42 sent, 2 skipped, 1 failed); the rest make an ordinary town.
"""

from dataclasses import dataclass, field
from random import Random

from regulars.customers.models import Channel
from regulars.hospitality.demo import names

GUESTS = 2_000
SEED = 20_260_304
# How many lapsed guests the example's run finds, and what becomes of three of them.
LAPSED = 45
WRITTEN_TO_RECENTLY = 2
UNREACHABLE_PHONE = 1
# Others who got the earlier letter: gone for more than a year by now, or back at the table.
LONG_GONE = 14
CAME_BACK = 8
# Guests from far away, who have just been to the airport; at any hour it is night for one of them.
TRAVELLERS = {1985: "Asia/Tokyo", 1986: "Europe/London", 1987: "America/Los_Angeles"}
# Booked a table and cancelled before the confirmation had left.
CHANGED_MIND = 1988
TIERS = ((12, "VIP"), (9, "Oro"), (5, "Plata"))


@dataclass
class Guest:
    """One person of the cast; days count back from today's service day, the last visit first."""

    number: int
    first_name: str
    last_name: str
    language: str
    visit_days: list[int]
    birthday: tuple[int, int, int | None] | None = None
    timezone: str = ""
    phone: str = ""
    email: str = ""
    # Channel to whether marketing is allowed; absent: never asked.
    consents: dict[str, bool] = field(default_factory=dict)
    do_not_contact_reason: str = ""
    suppressed: bool = False
    # Got the letter of the earlier automation, and came again after it.
    written_to: bool = False
    came_back: bool = False

    @property
    def tier(self) -> str:
        """The tier that this many visits earn."""
        return next((tier for least, tier in TIERS if len(self.visit_days) >= least), "")

    @property
    def addresses(self) -> dict[str, str]:
        """Channel to address; WhatsApp and SMS share the phone."""
        ways: dict[str, str] = {}
        if self.phone:
            ways |= {Channel.WHATSAPP: self.phone, Channel.SMS: self.phone}
        if self.email:
            ways[Channel.EMAIL] = self.email
        return ways

    @property
    def way(self) -> tuple[str, str] | None:
        """Channel and address that marketing may use, the preferred one first."""
        if self.suppressed or self.do_not_contact_reason:
            return None
        usable = (way for way in self.addresses.items() if self.consents.get(way[0]))
        return next(usable, None)


def cast() -> list[Guest]:
    """Everybody, in the same order and with the same lives every time."""
    random = Random(SEED)  # noqa: S311 - fiction needs no secrecy
    guests = [_guest(random, number) for number in range(GUESTS)]
    _share_an_address(guests)
    for number in (*TRAVELLERS, CHANGED_MIND):
        _write_by_email(guests[number])
        guests[number].timezone = TRAVELLERS.get(number, "")
    return guests


def rejected_phone() -> str:
    """The number that the demo's sandbox refuses as invalid."""
    return names.phone(WRITTEN_TO_RECENTLY)


def _guest(random: Random, number: int) -> Guest:
    guest = Guest(
        number,
        random.choice(names.FIRST),
        random.choice(names.LAST),
        random.choices(("es", "en", ""), (60, 30, 10))[0],
        _visit_days(random, number),
        birthday=_birthday(random) if random.random() < 0.85 else None,
    )
    if number < LAPSED + LONG_GONE + CAME_BACK:
        _reachable(guest)
    else:
        _ordinary(random, guest)
    if number < LAPSED:
        # What they are written to depends on the example alone, and on no day of the year.
        guest.birthday = None
    guest.written_to = number < WRITTEN_TO_RECENTLY or LAPSED <= number < LAPSED + LONG_GONE + CAME_BACK
    guest.came_back = LAPSED + LONG_GONE <= number < LAPSED + LONG_GONE + CAME_BACK
    return guest


def _visit_days(random: Random, number: int) -> list[int]:
    if number < WRITTEN_TO_RECENTLY:
        return _before(random, 150 + 20 * number, 3)
    if number < LAPSED:
        # Nobody close to the 60 days, so that the example holds for days after the demo was made.
        return _before(random, random.randint(63, 320), random.randint(2, 9))
    if number < LAPSED + LONG_GONE:
        return _before(random, 366 + number - LAPSED, random.randint(2, 6))
    if number < LAPSED + LONG_GONE + CAME_BACK:
        # Came again a few days after the letter, after months away.
        return [random.randint(3, 18), *_before(random, random.randint(130, 200), 3)]
    return _ordinary_days(random, number)


def _ordinary_days(random: Random, number: int) -> list[int]:
    """Four in ten came once, four in ten are regulars, the others have yet to come."""
    if number < GUESTS * 4 // 10:
        return [random.randint(1, 364)]
    if number < GUESTS * 8 // 10:
        return _before(random, random.randint(1, 40), random.randint(2, 13))
    return []


def _before(random: Random, last: int, visits: int) -> list[int]:
    days = [last]
    while len(days) < visits:
        days.append(days[-1] + random.randint(6, 40))
    return days


def _birthday(random: Random) -> tuple[int, int, int | None]:
    month = random.randint(1, 12)
    day = random.randint(1, 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31)
    return month, day, random.randint(1945, 2005) if random.random() < 0.7 else None


def _reachable(guest: Guest) -> None:
    """Has exactly one way that allows marketing; the ways take turns."""
    guest.phone = names.phone(guest.number)
    if guest.number % 3 == 2 and guest.number != WRITTEN_TO_RECENTLY:
        guest.email = names.email(guest.number)
        guest.consents = {Channel.EMAIL: True}
    else:
        way = Channel.SMS if guest.number % 3 == 1 else Channel.WHATSAPP
        guest.consents = {way: True}


def _ordinary(random: Random, guest: Guest) -> None:
    if random.random() < 0.78:
        guest.phone = names.phone(guest.number)
    if random.random() < 0.7:
        guest.email = names.email(guest.number)
    for channel in guest.addresses:
        asked = random.random()
        if asked < 0.85:
            guest.consents[channel] = asked < 0.74
    guest.suppressed = random.random() < 0.012
    if random.random() < 0.008:
        guest.do_not_contact_reason = random.choice(("staff", "banned", "press"))


def _write_by_email(guest: Guest) -> None:
    """Can be written to by e-mail, and in no other way."""
    guest.phone, guest.email = "", names.email(guest.number)
    guest.consents = {Channel.EMAIL: True}
    guest.do_not_contact_reason, guest.suppressed = "", False


def _share_an_address(guests: list[Guest]) -> None:
    """Every hundredth couple has one mailbox: one message reaches both (E23)."""
    for number in range(GUESTS // 2, GUESTS - 1, 100):
        one, other = guests[number], guests[number + 1]
        other.email = one.email = names.email(number)
        other.phone = ""
        other.last_name = one.last_name
        other.consents = one.consents = {Channel.EMAIL: True}
