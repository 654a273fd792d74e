"""What a provider is told of a message besides its text."""

from types import SimpleNamespace

import pytest

from regulars.automations.rendering import Rendered
from regulars.runs.rendering import _outgoing

ROW = {
    "id": 7,
    "automation_id": "a",
    "customer_id": 1,
    "occasion": "o",
    "attempt": 2,
    "channel": "email",
    "address": "guest@example.com",
    "language": "es",
}


@pytest.mark.parametrize("purpose", ["marketing", "transactional"])
def test_a_provider_is_told_what_a_message_is_for(purpose):
    """Brevo's SMS, and Postmark's streams, are different for the two."""
    template = SimpleNamespace(render=lambda variables: Rendered("Hola", "Hola", "<p>Hola</p>"))
    work = SimpleNamespace(
        trigger=SimpleNamespace(purpose=purpose),
        template=lambda *_: template,
        advertises=False,
        no_links="",
        callback="",
    )
    told = _outgoing(work, ROW, {})
    assert (told.purpose, told.subject, told.attempt) == (purpose, "Hola", 2)
