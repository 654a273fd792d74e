"""How every advertising message tells its reader the way out. Pure: texts in, texts out.

E-mail carries a link (`unsubscribe_url`), appended where the owner's text has none. Text messages
name the word to reply, where the law of the number's country asks for it in each message; a sender
that takes no replies gives the link instead. (ePrivacy 13(2) and its national forms, such as LSSI 21.2;
for the United States the TCPA; CAN-SPAM and RFC 8058 for e-mail.)
"""

import re

from regulars.automations.markup import BodyKind, body_kind
from regulars.customers.models import Channel

VARIABLE = "unsubscribe_url"
_MENTION = re.compile(rf"\b{VARIABLE}\b")

# By language; the first is for all others. E-mail, then text messages (GSM-7 only: an accent that is not
# in it would make every part dearer), then those whose sender takes no replies.
_LANGUAGES = ("en", "es", "ca", "fr", "de", "it", "pt", "nl")
_LINK_WORDS = dict(
    zip(
        _LANGUAGES,
        (
            "Unsubscribe",
            "Darse de baja",
            "Donar-se de baixa",
            "Se désabonner",
            "Abmelden",
            "Annulla l’iscrizione",
            "Cancelar a subscrição",
            "Uitschrijven",
        ),
        strict=True,
    )
)
_REPLIES = dict(
    zip(
        _LANGUAGES,
        (
            "Reply {word} to opt out",
            "Para no recibir publicidad responde {word}",
            "Per no rebre publicitat respon {word}",
            "Pour ne plus recevoir de pub répondez {word}",
            "Keine Werbung mehr: antworte {word}",
            "Per non ricevere pubblicità rispondi {word}",
            "Para sair responda {word}",
            "Afmelden: antwoord {word}",
        ),
        strict=True,
    )
)
_SHORT = dict(
    zip(
        _LANGUAGES,
        ("Opt out", "Baja", "Baixa", "Stop pub", "Abmelden", "Disiscriviti", "Sair", "Afmelden"),
        strict=True,
    )
)
_WORDS = dict(
    zip(_LANGUAGES, ("STOP", "BAJA", "BAIXA", "STOP", "STOPP", "FERMA", "SAIR", "STOP"), strict=True)
)
# The word that the carriers of a country know, whatever the language.
_NATIONAL = {"+1": "STOP", "+33": "STOP"}
# Calling codes of the countries whose law asks for the way out in each message: the European Economic
# Area, the United Kingdom, Switzerland, North America, Australia and New Zealand.
_ASKED_BY_LAW = (
    *("+30", "+31", "+32", "+33", "+34", "+351", "+352", "+353", "+354", "+356", "+357", "+358", "+359"),
    *("+36", "+370", "+371", "+372", "+385", "+386", "+39", "+40", "+41", "+420", "+421", "+423", "+43"),
    *("+44", "+45", "+46", "+47", "+48", "+49", "+1", "+61", "+64"),
)
# A text that names one of these, in capitals, has told the way out itself.
_TOLD = re.compile(
    r"\b(STOP|STOPP|BAJA|BAIXA|UNSUBSCRIBE|ARRET|ARRÊT|SAIR|FERMA|AFMELDEN|ABMELDEN|OPTOUT|PARAR)\b"
)


def with_link(body: str, language: str) -> str:
    """The body of an advertising e-mail (text, HTML or MJML, with its Liquid) with the link in it."""
    if _MENTION.search(body):
        return body
    words = _of(_LINK_WORDS, language)
    anchor = f'<a href="{{{{ {VARIABLE} }}}}">{words}</a>'
    match body_kind(body):
        case BodyKind.TEXT:
            return f"{body.rstrip()}\n\n{words}: {{{{ {VARIABLE} }}}}\n"
        case BodyKind.HTML:
            return _before("</body>", body, f"<p>{anchor}</p>")
    section = f"<mj-section><mj-column><mj-text>{anchor}</mj-text></mj-column></mj-section>"
    return _before("</mj-body>", body, section)


def _before(tag: str, body: str, addition: str) -> str:
    """`addition` before the last `tag`, or at the end."""
    place = body.lower().rfind(tag)
    return f"{body}{addition}" if place < 0 else f"{body[:place]}{addition}{body[place:]}"


def ending(channel: str, text: str, language: str, address: str = "", link: str = "") -> str:
    """What is to be added to an advertising text message, its line break included; empty: nothing.

    `text` is what the guest would read, `address` the number (empty: of a country that asks for
    most), `link` the address to name where the sender takes no replies.
    """
    if channel == Channel.EMAIL or not _is_asked(address) or _TOLD.search(text):
        return ""
    if link:
        return f"\n{_of(_SHORT, language)}: {link}"
    word = next((word for code, word in _NATIONAL.items() if address.startswith(code)), None)
    return "\n" + _of(_REPLIES, language).format(word=word or _of(_WORDS, language))


def _is_asked(address: str) -> bool:
    return not address or address.startswith(_ASKED_BY_LAW)


def _of(words: dict[str, str], language: str) -> str:
    return words.get(language[:2].lower(), words["en"])
