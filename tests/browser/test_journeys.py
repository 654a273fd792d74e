"""What people do in a browser, from signing in to the end of a run."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from browser.conftest import sign_in, win_back

pytestmark = pytest.mark.browser


def test_we_miss_you_ends_with_the_documented_counts(journey):
    assert journey.figures == {"processed": 45, "sent": 42, "skipped": 2, "failed": 1}
    assert "42 of 45 sent" in journey.sentence
    assert "2 left out" in journey.sentence
    assert "1 failed" in journey.sentence


def test_the_preview_announces_what_the_run_does(journey):
    assert re.search(r"45\s+Due", journey.preview) or re.search(r"Due\s+45", journey.preview)
    assert "43 guests would get a message now." in journey.question
    assert "2 more are due, but would be left out." in journey.question


def test_the_counts_move_without_loading_the_page_again(journey):
    assert "No worker is running" in journey.waiting
    assert journey.same_page


def test_nothing_is_asked_of_another_host(site, journey):
    assert len(journey.requests) > 10
    outside = [url for url in journey.requests if not url.startswith((f"{site.url}/", "data:"))]
    assert outside == []


def test_the_documentation_of_the_api_asks_no_other_host(site, owner_page):
    requests = []
    owner_page.on("request", lambda request: requests.append(request.url))
    owner_page.goto(f"{site.url}/api/docs")
    owner_page.wait_for_load_state("networkidle")
    outside = [url for url in requests if not url.startswith((f"{site.url}/", "data:"))]
    assert outside == []
    assert owner_page.get_by_text("/api/automations", exact=False).count()


ALL_RULES = {"resultTypes": ["violations"]}
# In the dark a page differs by its colours alone.
COLOURS = ALL_RULES | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}


@pytest.mark.parametrize(
    ("scheme", "rules"), [("light", ALL_RULES), ("dark", COLOURS)], ids=["light", "dark"]
)
def test_axe_finds_nothing_on_any_page(site, owner_page, addresses, pictures, scheme, rules):
    owner_page.emulate_media(color_scheme=scheme)
    found = {}
    for name, path in addresses.items():
        owner_page.goto(f"{site.url}{path}")
        pictures.take(owner_page, f"{name}-{scheme}.png", full_page=True)
        report = Axe().run(owner_page, options=rules)
        if report.violations_count:
            found[name] = report.generate_report()
    assert found == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_sign_in_page(site, page, pictures, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("E-mail address").fill("nobody@example.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    pictures.take(page, f"sign-in-{scheme}.png")
    report = Axe().run(page)
    assert report.violations_count == 0, report.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_dialog(site, owner_page, journey, scheme):
    owner_page.emulate_media(color_scheme=scheme)
    win_back(owner_page).get_by_role("link", name="Run").click()
    owner_page.get_by_role("dialog").wait_for()
    report = Axe().run(owner_page)
    assert report.violations_count == 0, report.generate_report()


def test_no_page_is_wider_than_a_telephone(site, owner_page, addresses, pictures):
    owner_page.set_viewport_size({"width": 390, "height": 844})
    for name, path in addresses.items():
        owner_page.goto(f"{site.url}{path}")
        pictures.take(owner_page, f"{name}-390.png", full_page=True)
        width = owner_page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, name


def test_the_policy_of_the_pages_is_never_broken(site, owner_page, addresses):
    complaints = []
    owner_page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    owner_page.on("pageerror", lambda error: complaints.append(str(error)))
    for path in addresses.values():
        owner_page.goto(f"{site.url}{path}")
        owner_page.wait_for_load_state("networkidle")
    assert complaints == []


def test_the_keyboard_alone_is_enough(site, page, journey):
    page.goto(f"{site.url}/sign-in")
    page.keyboard.type(site.email)
    page.keyboard.press("Tab")
    page.keyboard.type(site.password)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.url}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip-link"
    run = win_back(page).get_by_role("link", name="Run")
    for _ in range(40):
        page.keyboard.press("Tab")
        if run.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert dialog.evaluate("dialog => dialog.contains(document.activeElement)")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert run.evaluate("link => link === document.activeElement")


def test_an_account_is_added_and_tested_by_keyboard_without_scripts(site, browser, browser_context_args):
    context = browser.new_context(**browser_context_args, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, site, path="/providers/new")
    page.get_by_role("link", name="Sandbox").press("Enter")
    page.get_by_label("Name").fill("By hand")
    page.get_by_label("Share that is refused").fill("0.75")
    page.get_by_label("Share that has to wait").fill("0.75")
    page.get_by_label("Messages a day").press("Enter")
    assert "add up to more than 1" in page.get_by_role("alert").inner_text()
    page.get_by_label("Share that has to wait").fill("0.25")
    page.get_by_role("button", name="Add").press("Enter")
    page.get_by_role("heading", level=1, name="By hand").wait_for()
    page.get_by_role("button", name="Test").press("Enter")
    page.get_by_text("The sandbox works, and sends nothing to anybody.").wait_for()
    context.close()


def test_the_dialog_closes_by_its_button_and_a_click_beside_it(owner_page, journey):
    run = win_back(owner_page).get_by_role("link", name="Run")
    dialog = owner_page.get_by_role("dialog")
    run.click()
    dialog.get_by_role("button", name="Cancel").click()
    dialog.wait_for(state="hidden")
    run.click()
    dialog.wait_for()
    owner_page.mouse.click(5, 5)
    dialog.wait_for(state="hidden")


def test_the_pages_speak_the_language_of_the_browser(site, browser, journey, pictures):
    context = browser.new_context(locale="es-ES")
    page = context.new_page()
    sign_in(page, site)
    page.goto(f"{site.url}{journey.run_path}?show=skipped")
    text = page.inner_text("main")
    pictures.take(page, "run-spanish.png", full_page=True)
    report = Axe().run(page)
    context.close()
    assert "42 de 45 enviados" in text
    assert "terminada" in text
    assert report.violations_count == 0, report.generate_report()


def test_an_e_mail_in_its_frame_runs_and_loads_nothing(site, owner_page, addresses):
    owner_page.goto(f"{site.url}{addresses['e-mail']}")
    frame = owner_page.locator("iframe")
    assert frame.get_attribute("sandbox") == ""
    assert owner_page.frame_locator("iframe").locator("body").inner_text().strip()
