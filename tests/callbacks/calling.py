"""Calling as the vendors do: an ASGI request, signed; and the application that it goes to."""

import asyncio
import base64
import hashlib
import hmac
import json
from urllib.parse import urlencode

from regulars.callbacks.certificates import Certificates
from regulars.callbacks.doors import Doors
from regulars.callbacks.receiving import Receiver
from regulars.providers.twilio.callbacks import signature

HOST = "https://regulars.example.com"


class Notebook:
    """Takes what the writer would write; for tests that are about the door and not about the database."""

    def __init__(self):
        self.rows = []
        self.is_full = False
        self.problem = None

    async def write(self, row):
        if self.problem:
            raise self.problem
        self.rows.append(row)


def receiver(door, writer, fetched=b""):
    async def fetch(url):
        if isinstance(fetched, Exception):
            raise fetched
        return fetched

    return Receiver(writer, Doors(lambda kind, pk: door), Certificates(fetch))


async def ask(application, method, path, body=b"", headers=None, chunks=None):
    """The status, the headers and the body of the answer."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in chunks or [body]]
    parts[-1]["more_body"] = False
    sent = []

    async def receive():
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await application(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, sent[1]["body"]


def called(application, method, path, body=b"", headers=None, chunks=None):
    return asyncio.run(ask(application, method, path, body, headers, chunks))


def twilio(path, **fields):
    body = urlencode(fields).encode()
    proof = signature("t0ken", HOST + path, sorted(fields.items()))
    return {"path": path, "body": body, "headers": {"x-twilio-signature": proof}}


def meta(path, document):
    body = json.dumps(document).encode()
    proof = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    return {"path": path, "body": body, "headers": {"x-hub-signature-256": f"sha256={proof}"}}


def with_password(path, document, password):
    proof = base64.b64encode(f"regulars:{password}".encode()).decode()
    return {
        "path": path,
        "body": json.dumps(document).encode(),
        "headers": {"authorization": f"Basic {proof}"},
    }
