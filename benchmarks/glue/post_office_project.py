"""A Django project in one file whose only purpose is django-post-office.

`python post_office_project.py migrate | queue N | send_queued_mail --processes P`; DATABASE_URL, SINK_PORT
and BATCH_SIZE in the environment (BATCH_SIZE empty: its default).
"""

import os
import sys
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings

parts = urlsplit(os.environ["DATABASE_URL"])
batch = os.environ.get("BATCH_SIZE")
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts.path.lstrip("/"),
            "USER": parts.username,
            "HOST": parse_qs(parts.query)["host"][0],
        }
    },
    EMAIL_BACKEND="post_office.EmailBackend",
    EMAIL_HOST="127.0.0.1",
    EMAIL_PORT=int(os.environ["SINK_PORT"]),
    DEFAULT_FROM_EMAIL="hola@example.com",
    SECRET_KEY="benchmarks-only",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    POST_OFFICE={
        "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"},
        **({"BATCH_SIZE": int(batch)} if batch else {}),
    },
)
django.setup()

SUBJECT = "Te echamos de menos en Casa Pepe Centro"
TEXT = (
    "Hola {name}:\n\nTe echamos de menos en Casa Pepe Centro. Tu mesa te espera, y esta semana invitamos "
    "al postre.\n\nHasta pronto,\nCasa Pepe"
)
HTML = (
    "<!doctype html><html><body><p>Hola {name}:</p>\n<p>Te echamos de menos en Casa Pepe Centro. Tu mesa te "
    "espera, y esta semana invitamos al postre.</p>\n<p>Hasta pronto,<br>Casa Pepe</p></body></html>"
)


def queue(number):
    """Put the letters into its queue by its own bulk call, a thousand at a time."""
    from post_office import mail

    for start in range(1, number + 1, 1000):
        letters = [
            {
                "recipients": [f"guest{n}@example.com"],
                "sender": "hola@example.com",
                "subject": SUBJECT,
                "message": TEXT.format(name=f"Guest{n % 1000}"),
                "html_message": HTML.format(name=f"Guest{n % 1000}"),
            }
            for n in range(start, min(start + 1000, number + 1))
        ]
        mail.send_many(letters)


if __name__ == "__main__":
    if sys.argv[1] == "queue":
        queue(int(sys.argv[2]))
    else:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
