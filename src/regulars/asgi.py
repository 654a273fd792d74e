"""The ASGI application that uvicorn serves: callbacks by themselves, everything else through Django."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "regulars.settings")
_django = get_asgi_application()

# After Django is set up.
from regulars.automations.callback_access import PATH  # noqa: E402
from regulars.callbacks.receiving import Receiver  # noqa: E402

# Requests that Django works on at one moment; the rest is told to come again. Callbacks have limits of
# their own and speak each vendor's language, so the server itself lets more in (`cli.serving`).
MOST_AT_ONCE = 500


class Application:
    """One for the process. Callbacks get their state when the first one comes, on the server's loop."""

    def __init__(self) -> None:
        self._receiver: Receiver | None = None
        self._inside = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PATH):
            self._receiver = self._receiver or Receiver()
            await self._receiver(scope, receive, send)
        elif self._inside >= MOST_AT_ONCE and scope["type"] == "http":
            await _busy(send)
        else:
            self._inside += 1
            try:
                await _django(scope, receive, send)
            finally:
                self._inside -= 1


async def _busy(send: Any) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"5")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"Service Unavailable"})


application = Application()
