"""A provider that counts: Twilio's contract for a message, in a process of its own.

What arrived here arrived; no database under test can lose or repeat it. Run as a script:
`python sink.py [--host 127.0.0.1] [--port 0] [--delay-ms 10] [--log FILE]`; prints its port. A message counts as
arrived when its request has been read to the end; the answer follows after the delay. Numbers that can
be divided by three are not on WhatsApp: such a message is refused, and has not arrived.

`GET /arrivals` gives {address: [seconds of the epoch, ...]}, `GET /number` how many there are;
`PUT /delay?ms=5` changes the delay.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ARRIVALS = {}
DELAY = {"seconds": 0.01}
REFUSAL = {"code": 63024, "message": "Invalid message recipient", "status": 400}
# Where each arrival is written down, for readers that cannot ask.
LOG = []


class Conversation(asyncio.Protocol):
    """One kept-alive connection; requests on it come one after another."""

    def connection_made(self, transport):
        self.transport, self.received = transport, b""

    def data_received(self, data):
        self.received += data
        while (request := self._whole()) is not None:
            head, body = request
            method, target, _ = head.split(" ", 2)
            self._answer(method, urlsplit(target), body)

    def _whole(self):
        """The next request if it has come to its end."""
        head, end, rest = self.received.partition(b"\r\n\r\n")
        if not end:
            return None
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) < length:
            return None
        self.received = rest[length:]
        return head.decode(), rest[:length].decode()

    def _answer(self, method, target, body):
        if method == "POST":
            channel, _, to = parse_qs(body)["To"][0].rpartition(":")
            refused = channel == "whatsapp" and int(to) % 3 == 0
            answer = (400, REFUSAL) if refused else (201, _taken(to))
            asyncio.get_running_loop().call_later(DELAY["seconds"], self._write, *answer)
        elif method == "PUT":
            DELAY["seconds"] = float(parse_qs(target.query)["ms"][0]) / 1000
            self._write(200, DELAY)
        elif target.path == "/number":
            self._write(200, {"number": sum(map(len, ARRIVALS.values()))})
        else:
            self._write(200, ARRIVALS)

    def _write(self, status, document):
        if self.transport.is_closing():
            return
        body = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)


def _taken(to):
    seen = ARRIVALS.setdefault(to, [])
    seen.append(time.time())
    for log in LOG:
        log.write(f"{seen[-1]} {to}\n")
    number = sum(map(ord, to)) * 1000 + len(seen)
    return {"sid": f"SM{number:032x}", "status": "queued", "to": to}


async def serve(host, port):
    server = await asyncio.get_running_loop().create_server(Conversation, host, port, backlog=1000)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=10)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    if options.log:
        LOG.append(options.log.open("a", buffering=1))
    DELAY["seconds"] = options.delay_ms / 1000
    asyncio.run(serve(options.host, options.port))


if __name__ == "__main__":
    main()
