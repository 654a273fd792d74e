"""Personal data leaves the process only masked, unless somebody with the right to see it asks."""

import re

_EMAIL = re.compile(r"([\w.+-])[\w.+-]*@([\w-]+(?:\.[\w-]+)*)")
# WhatsApp's user ids, which stand for a number.
_USER_ID = re.compile(r"\b[A-Z]{2}\.(?:ENT\.)?(?=[A-Za-z]*\d)[A-Za-z0-9]{8,128}\b")
_PHONE = re.compile(r"\+?\d[\d ().-]{6,}\d")


def mask_address(address: str) -> str:
    """`+34 ••• 678` for a phone number, `m•••@example.com` for an e-mail address."""
    if "@" in address:
        local, _, domain = address.rpartition("@")
        return f"{local[:1]}•••@{domain}"
    return f"{address[:3]} ••• {address[-3:]}" if len(address) > 6 else "•••"


def mask_text(text: str) -> str:
    """Mask whatever looks like an e-mail address, a phone number or a WhatsApp user id inside free text.

    Providers quote the number in their own error messages; those may reach a log.
    """
    text = _EMAIL.sub(lambda found: f"{found[1]}•••@{found[2]}", text)
    text = _USER_ID.sub(lambda found: mask_address(found[0]), text)
    return _PHONE.sub(lambda found: mask_address(found[0]), text)
