"""The page of a run under way: it moves by events, without them by asking, and its buttons work."""

import re

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.browser

# A run as the ledger has it in the middle: one sent, two in doubt, one that failed for the moment.
MAKE = """
import json, sys
from regulars.cli import starting
starting.start()
from datetime import timedelta
from regulars.automations.models import Automation
from regulars.lib import clock
from regulars.runs.models import Message, Run, RunChunk
automation = Automation.objects.select_related("organization").get(trigger="inactive", enabled=True)
account = automation.organization.accounts.first()
now = clock.now()
run = Run.objects.create(
    organization=automation.organization, automation=automation, version=automation.current_version,
    state="paused", reason="The password was refused", due=5, created_at=now, as_of=now, planned_at=now)
# Nobody works on it: its lease lasts, so that the page shows what the test does and nothing else.
chunk = RunChunk.objects.create(
    run=run, number=1, account_id=account.pk, total=5, sent=1, failed=1, unknown=2, epoch=1,
    lease_until=now + timedelta(hours=1), next_due=now)
customer = automation.organization.customers.first()
for state, reason in (
    ("sent", ""), ("failed", "temporary"), ("unknown", "no_answer"), ("unknown", "interrupted"), ("queued", "")
):
    made = Message.objects.create(
        organization_id=run.organization_id, run=run, chunk_number=1, automation=automation,
        version_id=run.version_id, customer_id=customer.pk, occasion="test:" + state + reason, purpose="marketing",
        channel="email", account_id=account.pk, address="guest@example.com", due_at=now, send_after=now,
        state=state, reason=reason, attempt=1, created_at=now, state_at=now,
        error="The service did not answer" if state != "sent" else "")
    if state == "sent":
        RunChunk.objects.filter(pk=chunk.pk).update(first_id=made.pk)
RunChunk.objects.filter(pk=chunk.pk).update(last_id=made.pk)
json.dump(str(run.pk), sys.stdout)
"""


@pytest.fixture
def run(site):
    """A run that only the test moves; gone afterwards, or the next one of its automation would join it."""
    with RunInTheLedger(site) as made:
        yield made


class RunInTheLedger:
    def __init__(self, site):
        self.id = site.python(MAKE)
        self.path = f"/runs/{self.id}"
        self._ledger = psycopg.connect(site.environment["DATABASE_URL"], autocommit=True)

    def change(self, statement):
        self._ledger.execute(statement, {"run": self.id})
        self._ledger.execute("SELECT pg_notify('regulars_runs', %s)", [self.id])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for table, column in (("messages", "run_id"), ("run_chunks", "run_id"), ("automation_logs", "id")):
            self.change(f"DELETE FROM {table} WHERE {column} = %(run)s")
        self._ledger.close()


SENT = "UPDATE run_chunks SET sent = sent + 1 WHERE run_id = %(run)s"
GOES_ON = "UPDATE automation_logs SET state = 'sending', reason = '' WHERE id = %(run)s"
ENDS = "UPDATE automation_logs SET state = 'finished', finished_at = now() WHERE id = %(run)s"


def asked_for(page, ending):
    """The addresses of that ending that the page asks for from now on."""
    found = []
    page.on("request", lambda request: found.append(request.url) if ending in request.url else None)
    return found


def test_the_page_moves_by_events_and_ends_with_the_run(site, run, owner_page, pictures):
    page = owner_page
    streams = asked_for(page, "/events")
    page.goto(f"{site.url}{run.path}")
    page.locator("#run-status", has_text="The password was refused").wait_for()
    pictures.take(page, "run-paused.png", full_page=True)
    run.change(GOES_ON)
    page.locator("#run-status", has_text="sending").wait_for()
    page.get_by_role("button", name="Pause").wait_for()
    # Only the words were asked for: the part no longer asks by itself, and yet the number moves.
    page.wait_for_function("!document.querySelector('#progress').hasAttribute('hx-trigger')")
    # An event of that same change may still be on its way.
    page.wait_for_timeout(1000)
    parts = asked_for(page, "/progress")
    run.change(SENT)
    page.locator("#sent", has_text="2").wait_for()
    assert page.evaluate("document.querySelector('#progress progress').value") == 5
    pictures.take(page, "run-live.png", full_page=True)
    assert parts == []
    run.change(ENDS)
    page.locator("#run-status", has_text="finished").wait_for()
    assert page.locator("#progress").get_attribute("data-events") is None
    assert len(streams) == 1


def test_without_events_the_page_asks_for_itself(site, run, owner_page):
    page = owner_page
    run.change(GOES_ON)
    page.route("**/events", lambda route: route.abort())
    page.goto(f"{site.url}{run.path}")
    run.change(SENT)
    page.locator("#sent", has_text="2").wait_for()
    run.change(ENDS)
    page.locator("#run-status", has_text="finished").wait_for()


def test_pause_and_go_on_by_their_buttons(site, run, owner_page):
    page = owner_page
    run.change(GOES_ON)
    page.goto(f"{site.url}{run.path}")
    page.get_by_role("button", name="Pause").click()
    page.locator("#run-status", has_text=f"Paused by {site.email}").wait_for()
    page.get_by_role("button", name="Go on").click()
    page.locator("#run-status", has_text="sending").wait_for()


def test_what_failed_for_the_moment_is_tried_again_after_a_question(site, run, owner_page, pictures):
    page = owner_page
    page.goto(f"{site.url}{run.path}?show=failed")
    pictures.take(page, "run-failed.png", full_page=True)
    page.get_by_role("link", name="Try again").click()
    page.get_by_text("1 message is tried once more").wait_for()
    pictures.take(page, "run-retry.png")
    assert Axe().run(page).violations_count == 0
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("1 message is tried again.").wait_for()
    assert page.inner_text("#failed") == "0"


@pytest.mark.parametrize("language", ["en", "es"])
def test_all_in_doubt_are_decided_after_a_question(site, run, browser, cookies, pictures, language):
    words = {
        "en": ("All arrived", "recorded as sent", "2 messages are decided."),
        "es": ("Todos llegaron", "se anotan como enviados", "2 mensajes decididos."),
    }[language]
    context = browser.new_context(locale={"en": "en-GB", "es": "es-ES"}[language])
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(f"{site.url}{run.path}?show=unknown")
    pictures.take(page, f"run-unknown-{language}.png", full_page=True)
    assert Axe().run(page).violations_count == 0
    page.get_by_role("button", name=re.compile(f"^{words[0]}")).click()
    page.get_by_text(words[1]).wait_for()
    pictures.take(page, f"run-settle-{language}.png")
    assert Axe().run(page).violations_count == 0
    page.get_by_role("button", name=words[0]).click()
    page.get_by_text(words[2]).wait_for()
    assert page.inner_text("#sent") == "3"
    assert page.locator("#unknown").count() == 0
    context.close()
