"""Each page answers, in both languages, and loads nothing from elsewhere."""

from dashboard.pages import Page


def test_each_page_opens_for_a_member(signed_in, every_page):
    statuses = {address: signed_in.get(address).status_code for address in every_page}
    assert set(statuses.values()) == {200}, statuses


def test_each_page_sends_a_stranger_to_sign_in(client, every_page):
    for address in every_page:
        answer = client.get(address)
        assert answer.status_code == 302, address
        assert answer.url.startswith("/sign-in?next=/"), address


def test_no_page_names_an_outside_address(signed_in, client, every_page):
    for address in [*every_page, "/sign-in", "/nowhere"]:
        for tag, link in Page(signed_in.get(address)).links():
            assert not link.startswith(("http:", "https:", "//")), (address, tag, link)


def test_no_page_has_an_inline_script_or_style(signed_in, every_page):
    for address in every_page:
        for tag, attributes in Page(signed_in.get(address)).tags:
            assert tag != "style", address
            assert tag != "script" or attributes.get("src"), address
            loud = [name for name in attributes if name.startswith("on") or name == "style"]
            assert not loud, (address, tag, loud)


def test_each_page_carries_the_policy(signed_in, client, every_page):
    for address in [*every_page, "/sign-in", "/nowhere"]:
        policy = signed_in.get(address).headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_each_page_says_its_language(signed_in, every_page):
    for address in every_page:
        if address.endswith("/progress"):
            continue
        spanish = Page(signed_in.get(address, headers={"Accept-Language": "es"}))
        assert ("html", {"lang": "es"}) in spanish.tags, address
        assert "Bandeja de salida" in spanish.text, address
        english = Page(signed_in.get(address, headers={"Accept-Language": "en"}))
        assert ("html", {"lang": "en"}) in english.tags, address


def test_an_e_mail_is_shown_in_a_frame_that_can_do_nothing(signed_in, outbox_entry):
    page = Page(signed_in.get(f"/outbox/{outbox_entry.pk}"))
    frames = [attributes for tag, attributes in page.tags if tag == "iframe"]
    assert frames[0]["sandbox"] == ""
    answer = signed_in.get(frames[0]["src"])
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox" in policy.split("; ")
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert b"color:red" in answer.content
