"""Celery on Redis, one task per recipient, with a row per recipient in PostgreSQL; tuned.

Kept connections, results ignored, no Django (which would close its connection after every task).
`python celery_project.py queue N` writes the rows and the tasks; `celery -A celery_project worker`
works. DATABASE_URL, BROKER, SINK_PORT, and ACKS_LATE=1 for late acknowledgement and
a visibility timeout of 20 seconds.
"""

import contextlib
import os
import queue as queues
import smtplib
import sys
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import psycopg
from celery import Celery

app = Celery("celery_project", broker=os.environ["BROKER"])
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
if os.environ.get("ACKS_LATE") == "1":
    app.conf.task_acks_late = True
    # What a dead worker held is given out again after this long (an hour, unless one says so).
    app.conf.broker_transport_options = {"visibility_timeout": 20}

TEXT = (
    "Hola {name}:\n\nTe echamos de menos en Casa Pepe Centro. Tu mesa te espera, y esta semana invitamos "
    "al postre.\n\nHasta pronto,\nCasa Pepe"
)
HTML = (
    "<!doctype html><html><body><p>Hola {name}:</p>\n<p>Te echamos de menos en Casa Pepe Centro. Tu mesa te "
    "espera, y esta semana invitamos al postre.</p>\n<p>Hasta pronto,<br>Casa Pepe</p></body></html>"
)
_idle = queues.LifoQueue()


@contextlib.contextmanager
def connections():
    """A pair of database and mail connections, kept for the next task."""
    try:
        pair = _idle.get_nowait()
    except queues.Empty:
        database = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
        pair = database, smtplib.SMTP("127.0.0.1", int(os.environ["SINK_PORT"]))
    yield pair
    _idle.put(pair)


@app.task
def send(number):
    """One recipient: read, write the letter, hand it over, record it."""
    with connections() as (database, mail):
        row = database.execute(
            "SELECT address, name, sent_at FROM letters WHERE id = %s", (number,)
        ).fetchone()
        address, name, sent_at = row
        if sent_at is not None:
            return
        letter = EmailMessage()
        letter["From"], letter["To"] = "hola@example.com", address
        letter["Subject"] = "Te echamos de menos en Casa Pepe Centro"
        letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain="example.com")
        letter.set_content(TEXT.format(name=name))
        letter.add_alternative(HTML.format(name=name), subtype="html")
        mail.send_message(letter)
        database.execute("UPDATE letters SET sent_at = now() WHERE id = %s", (number,))


def queue(number):
    """The rows in one statement, then a task for each over one connection to the broker."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        database.execute(
            """INSERT INTO letters (id, address, name)
               SELECT n, 'guest' || n || '@example.com', 'Guest' || n %% 1000
                 FROM generate_series(1, %s) n""",
            (number,),
        )
    with app.producer_pool.acquire(block=True) as producer:
        for n in range(1, number + 1):
            send.apply_async((n,), producer=producer)


if __name__ == "__main__":
    queue(int(sys.argv[2]))
