"""The registry and the words of the classes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.providers import registry
from regulars.providers.base import Provider, Verdict
from regulars.providers.classes import VERDICTS, ErrorClass, plain


def test_every_provider_is_found_under_its_own_kind():
    found = registry.all_providers()
    assert [provider.kind for provider in found] == ["sandbox", "smtp", "twilio", "meta"]
    for provider in found:
        assert isinstance(provider, Provider)
        assert registry.get(provider.kind) is provider
        assert provider.label
        assert set(provider.channels) <= {"whatsapp", "sms", "email"}
        # SMTP, Twilio and Meta deduplicate nothing.
        assert not provider.idempotent


def test_an_unknown_kind_says_which_there_are():
    with pytest.raises(registry.UnknownProviderError, match="sandbox, smtp, twilio, meta"):
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
