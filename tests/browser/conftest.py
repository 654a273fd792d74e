"""A real server, a real worker and a real Chromium, on a database of their own.

Playwright's sync API leaves an event loop running, in which Django's ORM refuses to work: so nothing
here touches the database but through processes. They are the ones that people start.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from tests import live

SEED = """
import json, sys
from regulars.cli import starting
starting.start()
from regulars.hospitality.demo import seed
from regulars.lib import clock
made = seed(clock.now())
json.dump({"email": made.email, "password": made.password}, sys.stdout)
"""


def _chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = [os.environ.get("REGULARS_CHROMIUM"), *(shutil.which(name) for name in names)]
    return next((path for path in found if path), None)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """The system's Chromium instead of a download; silent, and as root without its sandbox."""
    path = _chromium()
    if path is None:
        missing = "No Chromium was found: install the package chromium, or set REGULARS_CHROMIUM."
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    flags = [
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    return {**browser_type_launch_args, "executable_path": path, "args": flags}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    return {
        **browser_context_args,
        "locale": "en-GB",
        "viewport": {"width": 1200, "height": 860},
    }


@dataclass
class Site:
    """A running demo restaurant: where it is, who signs in, and its worker."""

    url: str
    email: str
    password: str
    environment: dict[str, str]
    worker: "subprocess.Popen[bytes] | None" = None

    def start_worker(self):
        """Start the worker, once; the run waits for it until then."""
        if self.worker is None:
            self.worker = live.start(self.environment, "worker")

    def python(self, code, *arguments):
        """Run `code` in a process of this installation; what it printed, as JSON, if anything."""
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            check=True,
            timeout=120,
        )
        return json.loads(done.stdout) if done.stdout else None


@pytest.fixture(scope="session")
def database_url():
    """A database for this session only, beside the one of the other tests."""
    with live.temporary_database("browser") as url:
        yield url


@pytest.fixture(scope="session")
def site(browser_type_launch_args, database_url, tmp_path_factory):
    """The demo restaurant, served; no worker yet."""
    home = tmp_path_factory.mktemp("home")
    (home / "static").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = live.environment(database_url, home)
    seeded = subprocess.run(
        [sys.executable, "-c", SEED],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    server = live.start(environment, "web", "--port", str(port))
    running = Site(f"http://127.0.0.1:{port}", **json.loads(seeded.stdout), environment=environment)
    try:
        _wait_until_served(running.url, server)
        yield running
    finally:
        for process in (server, running.worker):
            if process is not None:
                live.stop(process)


def _wait_until_served(url, server):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, "The server ended by itself: see its messages above"
        try:
            with urlopen(f"{url}/sign-in", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    pytest.fail("The server did not answer within two minutes")


class Pictures:
    """Of the pages, for a person to look at; none where nobody does (CI), for they take long."""

    folder = None if os.environ.get("CI") else live.ROOT / "test-results"

    def take(self, page, name, **options):
        if self.folder:
            page.screenshot(path=self.folder / name, **options)


@pytest.fixture(scope="session")
def pictures():
    return Pictures()


def sign_in(page, site, *, path="/"):
    """Sign in as the demo's owner and land on `path`."""
    page.goto(f"{site.url}/sign-in?next={path}")
    page.get_by_label("E-mail address").or_(page.get_by_label("Correo electrónico")).fill(site.email)
    page.get_by_label("Password").or_(page.get_by_label("Contraseña")).fill(site.password)
    page.get_by_role("button", name="Sign in").or_(page.get_by_role("button", name="Iniciar sesión")).click()
    page.wait_for_url(f"{site.url}{path}")


def win_back(page):
    """The card of “we miss you” on the list."""
    return page.locator("li", has=page.get_by_role("heading", name="Te echamos de menos"))


@dataclass
class Journey:
    """What the owner saw from the list to the end of the run."""

    preview: str
    question: str
    waiting: str
    same_page: bool
    figures: dict[str, int]
    sentence: str
    run_path: str
    requests: list[str]


@pytest.fixture(scope="session")
def journey(site, browser, browser_context_args, pictures):
    """Preview “we miss you”, run it, start the worker, and watch it end: once for all tests."""
    context = browser.new_context(**browser_context_args)
    page = context.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    sign_in(page, site)
    card = win_back(page)
    card.get_by_role("link", name="Preview").click()
    page.wait_for_url("**/preview")
    preview = page.inner_text("main")
    pictures.take(page, "preview.png", full_page=True)
    page.goto(site.url)
    card.get_by_role("link", name="Run").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    question = dialog.inner_text()
    pictures.take(page, "confirm.png")
    dialog.get_by_role("button", name="Send to").click()
    page.wait_for_url("**/runs/*")
    page.evaluate("window.notReloaded = true")
    waiting = page.inner_text("main")
    pictures.take(page, "run-waiting.png")
    site.start_worker()
    page.locator("#run-status", has_text="finished").wait_for(timeout=60_000)
    page.locator("#tab-sent[aria-current]").wait_for()
    page.get_by_role("row").nth(5).wait_for()
    pictures.take(page, "run.png")
    pictures.take(page, "run-whole.png", full_page=True)
    names = ("processed", "sent", "skipped", "failed")
    made = Journey(
        preview=preview,
        question=question,
        waiting=waiting,
        same_page=page.evaluate("window.notReloaded === true"),
        figures={name: int(page.inner_text(f"#{name}")) for name in names},
        sentence=page.inner_text("#run-status"),
        run_path=urlsplit(page.url).path,
        requests=requests,
    )
    context.close()
    return made


@pytest.fixture(scope="session")
def cookies(site, browser, browser_context_args):
    """Those of the owner, who has signed in: once for all tests."""
    context = browser.new_context(**browser_context_args)
    sign_in(context.new_page(), site)
    found = context.cookies()
    context.close()
    return found


@pytest.fixture
def owner_page(site, page, cookies):
    """A page on which the owner is signed in."""
    page.context.add_cookies(cookies)
    page.goto(site.url)
    return page


@pytest.fixture(scope="session")
def addresses(site, journey, browser, browser_context_args, cookies):
    """The address of one page of each kind, found by following links as a person would."""
    context = browser.new_context(**browser_context_args)
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(site.url)
    found = {"automations": "/", "runs": "/runs", "guests": "/guests", "outbox": "/outbox"}
    card = win_back(page)
    found["preview"] = card.get_by_role("link", name="Preview").get_attribute("href")
    found["question"] = card.get_by_role("link", name="Run").get_attribute("href")
    found["schedule"] = card.get_by_role("link", name="Change").get_attribute("href")
    found["run"] = journey.run_path
    found["failed"] = f"{journey.run_path}?show=failed"
    found["left out"] = f"{journey.run_path}?show=skipped"
    page.goto(f"{site.url}{journey.run_path}")
    found["guest"] = page.locator("tbody th a[href^='/guests/']").first.get_attribute("href")
    page.goto(f"{site.url}/outbox")
    found["message"] = page.locator("a[href^='/outbox/']").first.get_attribute("href")
    mails = page.locator("li", has_text="E-mail").locator("a[href^='/outbox/']")
    found["e-mail"] = mails.first.get_attribute("href")
    context.close()
    return found | _accounts(site)


# A demo cannot make such an account, nor use it; its pages have every part.
WHATSAPP = """
import json, sys
from datetime import UTC, datetime
from regulars.cli import starting
starting.start()
from regulars.automations.models import ProviderAccount
from regulars.organizations.models import Organization
made = ProviderAccount.objects.create(
    organization=Organization.objects.get(), name="Our WhatsApp", kind="meta", channels=["whatsapp"],
    options={"phone_number_id": "1"}, position=9, per_second=80, recipients_per_day=2000,
    broken_reason="The access token has expired.",
)
for approval in ("approved", "pending", "rejected", "paused"):
    made.templates.create(
        reference=approval, name=f"come_back_{approval}", language="es", approval=approval,
        category="marketing", text="Hola {{1}}, te esperamos.", synced_at=datetime.now(UTC),
    )
json.dump(made.pk, sys.stdout)
"""


def _accounts(site):
    path = f"/providers/{site.python(WHATSAPP)}"
    forms = {"new account": "/providers/new", "sandbox account": "/providers/new/sandbox"}
    return {"accounts": "/providers", "account": path, "change account": f"{path}/change"} | forms
