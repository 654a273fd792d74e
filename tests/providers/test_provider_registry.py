"""The registry and the words of the classes."""

import sys

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from regulars.providers import registry
from regulars.providers.base import Provider, Verdict
from regulars.providers.classes import VERDICTS, ErrorClass, plain

BUILT_IN = "sandbox, smtp, twilio, meta, brevo, ses, postmark, mailgun, resend"


def test_every_provider_is_found_under_its_own_kind():
    found = registry.all_providers()
    assert ", ".join(provider.kind for provider in found) == BUILT_IN
    for provider in found:
        assert isinstance(provider, Provider)
        assert registry.get(provider.kind) is provider
        assert provider.label
        assert set(provider.channels) <= {"whatsapp", "sms", "email"}
        # None deduplicates single messages by a key that we could count on.
        assert not provider.idempotent
        # A batch fits into what a sender claims, so that a kill leaves no more than that in doubt.
        assert 1 <= provider.max_batch <= 64
        assert set(provider.rates) <= set(provider.channels)


def test_an_unknown_kind_says_which_there_are():
    with pytest.raises(registry.UnknownProviderError, match=BUILT_IN):
        registry.get("pigeon")


# Providers of other packages.

PIGEON = """
from regulars.providers.base import Connection, Options, Outcome, Provider, Verdict

class Loft(Connection):
    async def send(self, batch):
        return [Outcome(Verdict.ACCEPTED, provider_id=f"ring-{one.message_id}") for one in batch]

class Pigeon(Provider):
    kind = "pigeon"
    label = "Pigeons"
    channels = ("sms",)
    options = Options

    async def connect(self, options, outbox):
        return Loft()
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """`installed(code, **entries)`: a distribution with this module and these entry points."""

    def forget():
        for cached in (registry.get, registry._usable, registry._elsewhere):
            cached.cache_clear()

    def install(code, **entries):
        about = tmp_path / "pigeon_post-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon-post\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (about / "entry_points.txt").write_text("\n".join(["[regulars.providers]", *lines, ""]))
        (tmp_path / "pigeon_post.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "pigeon_post", raising=False)
        forget()

    yield install
    sys.modules.pop("pigeon_post", None)
    monkeypatch.undo()
    forget()


def test_a_package_brings_a_provider(installed):
    installed(PIGEON, pigeon="pigeon_post:Pigeon")
    found = registry.get("pigeon")
    assert found.label == "Pigeons"
    assert registry.all_providers()[-1] is found
    with pytest.raises(registry.UnknownProviderError, match=f"{BUILT_IN}, pigeon"):
        registry.get("owl")


def test_a_package_cannot_take_the_place_of_a_provider_that_comes_along(installed):
    installed(PIGEON, smtp="pigeon_post:Pigeon")
    assert registry.get("smtp").label != "Pigeons"
    assert len(registry.all_providers()) == len(registry.BUILT_IN)


@pytest.mark.parametrize(
    ("code", "entry", "reason"),
    [
        ("import nothing_like_it", "pigeon_post:Pigeon", "ModuleNotFoundError"),
        ("x = 1", "pigeon_post:Pigeon", "AttributeError"),
        ("class Pigeon: ...", "pigeon_post:Pigeon", "not a subclass"),
        (PIGEON.replace('kind = "pigeon"', 'kind = "owl"'), "pigeon_post:Pigeon", "its kind is 'owl'"),
    ],
)
def test_a_broken_package_is_named_and_keeps_nobody_from_the_rest(installed, code, entry, reason):
    installed(code, pigeon=entry)
    with structlog.testing.capture_logs() as told:
        assert len(registry.all_providers()) == len(registry.BUILT_IN)
    assert reason in told[0]["reason"]
    with pytest.raises(registry.BrokenProviderError, match=f"pigeon-post cannot be used: .*{reason}"):
        registry.get("pigeon")


def test_every_class_has_a_verdict_and_none_of_them_is_acceptance():
    assert set(VERDICTS) == set(ErrorClass)
    assert Verdict.ACCEPTED not in VERDICTS.values()


@given(st.text())
def test_a_vendors_text_becomes_one_short_line_without_the_secret(text):
    shown = plain(f"{text} s3cret {text}", "s3cret", "")
    assert len(shown) <= 200
    assert shown.isprintable()
    assert "s3cret" not in shown
