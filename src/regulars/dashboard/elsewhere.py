"""Words of other rooms that the pages translate: here, so that they reach the translators' files.

Those rooms know no languages. A test holds this list against what they say.
"""

from django.utils.translation import gettext_noop

REASONS = [
    gettext_noop("is marked “do not contact”"),
    gettext_noop("is too young for this, or their age is not known"),
    gettext_noop("has already been contacted about this occasion"),
    gettext_noop("has no address on the channels of this automation"),
    gettext_noop("has not agreed to marketing on a channel we could use"),
    gettext_noop("has opted out, complained, or has a bad address"),
    gettext_noop(
        "has not written by WhatsApp in the last 24 hours, and this automation has no approved template"
    ),
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
MISSED = [
    gettext_noop("Nothing was at work at that time, and later it would have been too late."),
    gettext_noop("The automation was paused."),
]
SCHEDULES = [
    gettext_noop(
        "This is no cron expression, or a day that never comes. "
        "Write five fields (minute, hour, day, month, weekday), such as 0 10 * * 1-5."
    ),
    gettext_noop("There is no such time zone. Use a name such as Europe/Madrid."),
    gettext_noop(
        "This trigger follows no event: give it times. As it happens is for visits and bookings that come in."
    ),
]
TRIGGERS = [
    gettext_noop("We miss you"),
    gettext_noop("Birthday"),
    gettext_noop("VIP reward"),
    gettext_noop("After a visit"),
    gettext_noop("Reservation confirmation"),
    gettext_noop("Reservation reminder"),
    gettext_noop("Reservation change"),
    gettext_noop("Reservation cancellation"),
]
# Verdicts that have no reason of the list above.
VERDICTS = [
    gettext_noop("is not due: the occasion has not come"),
    gettext_noop("is due, but does not match the conditions of this automation"),
    gettext_noop("would be contacted later"),
]
EVIDENCE = [
    gettext_noop("The last visit was on %(date)s, at %(venue)s."),
    gettext_noop("There is no visit on record."),
    gettext_noop("Visits so far: %(count)s. At least %(least)s are asked for."),
    gettext_noop("It is due from %(date)s."),
    gettext_noop("It is too late from %(date)s."),
    gettext_noop("The birthday is on %(date)s."),
    gettext_noop("The birthday is not known."),
    gettext_noop("The birthday on record is no day of any year."),
    gettext_noop("The tier is %(tier)s. Rewarded are: %(tiers)s."),
    gettext_noop("The guest has no tier. Rewarded are: %(tiers)s."),
    gettext_noop("Rose to %(tier)s on %(date)s."),
    gettext_noop("No rise to one of these tiers is on record that counts."),
    gettext_noop("There is a booking for %(moment)s, at %(venue)s (%(state)s)."),
    gettext_noop("There is no booking ahead."),
    gettext_noop("When it was confirmed is not known, so it is never due."),
    gettext_noop("Asked for, and not so: %(field)s %(operator)s %(value)s."),
    gettext_noop("Excluded are those with: %(field)s %(operator)s %(value)s."),
    gettext_noop("The note says: %(note)s."),
    gettext_noop("The year of birth is not known."),
    gettext_noop("Was born in %(year)s."),
    gettext_noop("“%(automation)s” wrote on %(moment)s, by %(channel)s (%(state)s)."),
    gettext_noop("“%(automation)s” has a message planned for %(moment)s, by %(channel)s (%(state)s)."),
    gettext_noop("The message itself has been removed for its age."),
    gettext_noop("Was held out at random for this occasion."),
    gettext_noop("It was due from %(due)s; what counts is what becomes due from %(moment)s on."),
    gettext_noop("The money for %(channel)s is used up until %(moment)s."),
    gettext_noop("There is no address on record."),
    gettext_noop("Last wrote on %(moment)s, from %(address)s."),
    gettext_noop("Has not written from %(address)s, as far as is known."),
    gettext_noop("%(address)s is a landline."),
    gettext_noop("%(address)s is for %(channel)s, which this automation does not use."),
    gettext_noop("There is no consent on record for %(channel)s."),
    gettext_noop("Agreed to marketing by %(channel)s on %(moment)s (%(source)s)."),
    gettext_noop("Withdrew consent for %(channel)s on %(moment)s (%(source)s)."),
    gettext_noop("%(address)s is suppressed since %(moment)s: %(why)s."),
    gettext_noop("%(address)s is marked bad: %(why)s."),
    gettext_noop("%(address)s was last confirmed on %(moment)s; somebody else may have it now."),
    gettext_noop("%(address)s is marked bad since %(moment)s: %(why)s."),
    gettext_noop("It was due from %(due)s and too late from %(moment)s."),
    gettext_noop("The cooldown of %(days)s days ends on %(moment)s."),
    gettext_noop("Another occasion of the same guest goes first."),
    gettext_noop("“%(automation)s” goes first."),
    gettext_noop("%(address)s is also the address of %(guest)s, who gets the message."),
    gettext_noop("It goes to %(address)s, by %(channel)s."),
]
# Words among the values of evidence. What is not here is shown as it is.
TERMS = [
    gettext_noop("source unknown"),
    gettext_noop("requested"),
    gettext_noop("confirmed"),
    gettext_noop("cancelled"),
    gettext_noop("no show"),
    gettext_noop("seated"),
    gettext_noop("completed"),
    gettext_noop("opt out"),
    gettext_noop("bounce"),
    gettext_noop("complaint"),
    gettext_noop("manual"),
]
CONDITIONS = [
    gettext_noop("Tier"),
    gettext_noop("Tags"),
    gettext_noop("Language"),
    gettext_noop("Month of birth"),
    gettext_noop("Age in years"),
    gettext_noop("Visits"),
    gettext_noop("Spend"),
    gettext_noop("Last visit"),
    gettext_noop("Venue visited"),
    gettext_noop("is"),
    gettext_noop("is not"),
    gettext_noop("is one of"),
    gettext_noop("is none of"),
    gettext_noop("is between"),
    gettext_noop("is known"),
    gettext_noop("is unknown"),
    gettext_noop("contain"),
    gettext_noop("contain one of"),
    gettext_noop("contain all of"),
    gettext_noop("contain none of"),
]
PROVIDERS = [
    gettext_noop("Sandbox (sends nothing)"),
    gettext_noop("E-mail (SMTP)"),
]
# Faults of an account, the narrower before the wider; `{ge}` and its like stand for what was filled in.
ACCOUNT_FAULTS = [
    gettext_noop("This is missing."),
    gettext_noop("This must be a whole number."),
    gettext_noop("This must be a number."),
    gettext_noop("This must be text."),
    gettext_noop("This must not be empty."),
    gettext_noop("This must have at most {max_length} characters."),
    gettext_noop("This has not the expected form ({pattern})."),
    gettext_noop("This must be a whole address, such as https://example.com."),
    gettext_noop("This must be at least {ge}."),
    gettext_noop("This must be at most {le}."),
    gettext_noop(
        "A demo organization can only use the sandbox: its guests are made up. "
        "Create an organization of your own to send real messages."
    ),
    gettext_noop("An account needs a name of at most 100 characters."),
    gettext_noop("There is already an account called “{name}”: choose another name."),
    gettext_noop("Choose at least one channel: {channels}."),
    gettext_noop("{label} cannot send by “{channel}” with these options. It can: {channels}."),
    gettext_noop("{label} cannot send by “{channel}”. It can: {channels}."),
    gettext_noop("Give a whole number from 1 to {most}, or nothing for no limit; not {value}."),
    gettext_noop("Not an e-mail address: {error}"),
    gettext_noop("The part before the @ must be plain letters and digits."),
    gettext_noop("Leave out line breaks and control characters."),
    gettext_noop("Give host (and port), or base_url as smtp://host:port."),
    gettext_noop("base_url is smtp://host:port, without user, path or query."),
    gettext_noop("Give both username and password, or neither."),
    gettext_noop("A password never travels unencrypted: use starttls or tls."),
    gettext_noop(
        "Give a number such as +12015550100, a name of up to 11 letters and digits, "
        "or a Messaging Service (MG and 32 hexadecimal digits)."
    ),
    gettext_noop(
        "Give a number such as +12015550100, or a Messaging Service (MG and 32 hexadecimal digits)."
    ),
    gettext_noop("Give from (who sends SMS), whatsapp_from (who sends WhatsApp), or both."),
    gettext_noop("Give a name of up to 11 letters and digits without spaces, or up to 15 digits."),
    gettext_noop("Give the WhatsApp number with its country, such as 12015550100."),
    gettext_noop("Give at least one of from_address, sms_sender and whatsapp_sender."),
    gettext_noop("The shares add up to more than 1: lower one of them."),
    gettext_noop(
        "The stored secret cannot be read with this SECRET_KEY: restore the key, or enter the secret again."
    ),
    gettext_noop("“{name}” must be one line of at most {most} characters."),
]
