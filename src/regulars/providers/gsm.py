"""The characters of which an SMS holds 160. Pure.

Source: 3GPP TS 23.038 (GSM 03.38), section 6.2.1, default alphabet and its extension table, as in
Unicode's GSM0338.TXT. Note what is *not* in it: á í ó ú, ç (only Ç), typographic quotes, emoji.
"""

# In the order of the standard, 0x00 to 0x7F without the escape at 0x1B.
DEFAULT_ALPHABET = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# Each takes an escape and a character: two units.
EXTENSION = frozenset("\f^{}\\[~]|€")
EVERY = DEFAULT_ALPHABET | EXTENSION
