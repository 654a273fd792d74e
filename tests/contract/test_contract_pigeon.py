"""The example of docs/adding-a-provider.md keeps the contract by subclassing it, and nothing more."""

from . import pigeon
from .http_vendor import HttpContract, Letter, reply


class TestPigeon(HttpContract):
    kind = "pigeon"
    secret = "not-a-real-key"
    module = pigeon
    # It is not installed here; else its kind is enough.
    provider = pigeon.Pigeon()

    def options(self, port):
        return {"api_key": self.secret, "base_url": f"http://127.0.0.1:{port}"}

    def read(self, asked):
        return [Letter(asked.document["to"], asked.document["text"])]

    def accepts(self, letters):
        return reply(201, {"ring": f"r{self.received()}"})

    def refuses(self, letters, bad):
        return reply(400, {"code": "no_such_roof"})

    def bad_key(self):
        return reply(401, {"code": "who_are_you"})

    def too_many(self):
        return reply(429, {"code": "tired"})
