"""SMTP's adapter against a mail server that is not ours, nor written in Python: postfix's smtp-sink."""

import asyncio
import contextlib
import email
import os
import shutil
import socket
import subprocess
import tempfile
import time
from email import policy
from pathlib import Path

import pytest

from regulars.providers.base import Verdict
from regulars.providers.registry import get

from .suite import TEXTS, message, no_outbox

PROGRAM = shutil.which("smtp-sink") or shutil.which("smtp-sink", path="/usr/sbin")
IN_CI = bool(os.environ.get("CI"))

pytestmark = pytest.mark.skipif(
    PROGRAM is None and not IN_CI, reason="smtp-sink is not installed: apt-get install postfix"
)


@pytest.fixture
def sink():
    """Its port, and what it has taken so far."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    # pytest's own folders are shut to the user that it becomes.
    with tempfile.TemporaryDirectory(prefix="regulars-sink-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        with _running(folder, port):
            yield port, lambda: [_letter(path) for path in sorted(folder.iterdir())]


@contextlib.contextmanager
def _running(folder, port):
    # It refuses to run as root without a user.
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    command = [PROGRAM, *user, "-d", f"{folder}/%H%M%S.", f"127.0.0.1:{port}", "16"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError("smtp-sink does not listen")


def _letter(path):
    return email.message_from_bytes(path.read_bytes(), policy=policy.default)


def test_letters_in_every_script_arrive_over_few_connections(sink):
    port, taken = sink
    letters = [
        message(
            number,
            channel="email",
            address=f"guest{number}@example.com",
            subject=f"¡Hola! {name} 🎂",
            body=text,
            html="<p>¡Olé!</p>",
            headers={"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
        )
        for number, (name, text) in enumerate(TEXTS.items(), start=1)
    ]

    async def hand_over():
        options = {
            "host": "127.0.0.1",
            "port": port,
            "security": "none",
            "from_address": "pepe@example.com",
        }
        provider = get("smtp")
        connection = await provider.connect(provider.options.model_validate(options), no_outbox)
        try:
            return [outcome for letter in letters for outcome in await connection.send([letter])]
        finally:
            await connection.close()

    outcomes = asyncio.run(hand_over())
    assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED] * len(letters)
    found = {letter["To"]: letter for letter in taken()}
    for sent, outcome in zip(letters, outcomes, strict=True):
        letter = found[sent.address]
        text = letter.get_body(("plain",)).get_content().replace("\r\n", "\n").removesuffix("\n")
        assert (letter["Subject"], text) == (sent.subject, sent.body)
        assert letter["Message-ID"] == outcome.provider_id
        assert letter["X-Rcpt-Args"] == f"<{sent.address}>"
        assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
