"""What the demo restaurant says, in Spanish and English, on every channel."""

from typing import Any

_HOLA = 'Hola {{ customer.first_name | default: "amigo" }}: '
_HELLO = 'Hello {{ customer.first_name | default: "there" }}, '

# Automation to language to (subject of the e-mail, text).
TEXTS: dict[str, dict[str, tuple[str, str]]] = {
    "inactive": {
        "es": (
            "Te echamos de menos en {{ organization.name }}",
            (
                f"{_HOLA}no te vemos desde el "
                "{{ last_visit.date | date }}. Vuelve a {{ venue.name }}: el postre es nuestro."
            ),
        ),
        "en": (
            "We miss you at {{ organization.name }}",
            (
                f"{_HELLO}we have not seen you since "
                "{{ last_visit.date | date }}. Come back to {{ venue.name }}: dessert is on us."
            ),
        ),
    },
    "birthday": {
        "es": (
            "Tu cumpleaños, en {{ venue.name }}",
            (
                f"{_HOLA}el "
                "{{ birthday.date | date }} es tu cumpleaños. Celébralo en {{ venue.name }}: "
                "la primera botella la ponemos nosotros."
            ),
        ),
        "en": (
            "Your birthday at {{ venue.name }}",
            (
                f"{_HELLO}your birthday is on "
                "{{ birthday.date | date }}. Come to {{ venue.name }}: the first bottle is ours."
            ),
        ),
    },
    "vip_reward": {
        "es": (
            "Un detalle para nuestros clientes {{ vip.tier }}",
            (
                f"{_HOLA}por ser cliente "
                "{{ vip.tier }}, este trimestre te invitamos a una copa de bienvenida en "
                "{{ venue.name }}."
            ),
        ),
        "en": (
            "Something for our {{ vip.tier }} guests",
            (
                f"{_HELLO}as a "
                "{{ vip.tier }} guest you have a welcome drink waiting at {{ venue.name }} "
                "this quarter."
            ),
        ),
    },
    "post_visit": {
        "es": (
            "Gracias por venir a {{ venue.name }}",
            (
                f"{_HOLA}gracias por tu visita del "
                "{{ visit.date | date }} a {{ venue.name }}. ¿Qué tal fue? Responde a este mensaje."
            ),
        ),
        "en": (
            "Thank you for coming to {{ venue.name }}",
            (
                f"{_HELLO}thank you for coming to "
                "{{ venue.name }} on {{ visit.date | date }}. How was it? Just reply."
            ),
        ),
    },
    "reservation_confirmation": {
        "es": (
            "Tu reserva en {{ venue.name }}",
            (
                f"{_HOLA}tu mesa en "
                "{{ venue.name }} queda confirmada el {{ reservation.date | date }} a las "
                "{{ reservation.time }}."
            ),
        ),
        "en": (
            "Your table at {{ venue.name }}",
            (
                f"{_HELLO}your table at "
                "{{ venue.name }} is confirmed for {{ reservation.date | date }} at "
                "{{ reservation.time }}."
            ),
        ),
    },
}


def templates(trigger: str) -> list[dict[str, Any]]:
    """The six templates of a demo automation: three channels, two languages."""
    return [
        {
            "channel": channel,
            "language": language,
            "subject": subject if channel == "email" else "",
            "body": body,
        }
        for channel in ("whatsapp", "sms", "email")
        for language, (subject, body) in TEXTS[trigger].items()
    ]
