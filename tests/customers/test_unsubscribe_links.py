"""A token is opaque, of one length, ours or nothing; and it outlives the key that signed it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.customers.unsubscribe_links import LENGTH, Link, read, sign

IDS = st.integers(min_value=0, max_value=2**63 - 1)


@given(IDS, IDS, st.sampled_from(["email", "sms", "whatsapp"]))
def test_a_token_says_what_was_signed_in_a_constant_length(customer, message, channel):
    token = sign(Link(customer, message, channel))
    assert read(token) == Link(customer, message, channel)
    assert len(token) == LENGTH


@given(st.integers(0, 32), st.integers(1, 255))
def test_any_changed_byte_makes_it_nobody_s(place, change):
    raw = bytearray(base64.urlsafe_b64decode(sign(Link(7, 8, "email"))))
    raw[place] ^= change
    assert read(base64.urlsafe_b64encode(raw).decode()) is None


@given(st.text(max_size=60))
def test_what_is_no_token_is_nobody_s(text):
    assert read(text) is None


def test_neighbours_have_nothing_in_common():
    one, next_one = (base64.urlsafe_b64decode(sign(Link(7, number, "email"))) for number in (8, 9))
    same = sum(a == b for a, b in zip(one, next_one, strict=True))
    assert same < 8
    assert (8).to_bytes(8) not in one


def test_a_key_can_be_replaced_and_old_links_still_work(settings):
    settings.LINK_KEYS = ["the key of last year"]
    old = sign(Link(7, 8, "email"))
    settings.LINK_KEYS = ["a new key", "the key of last year"]
    assert sign(Link(7, 8, "email")) != old
    assert read(old) == Link(7, 8, "email")
    settings.LINK_KEYS = ["a new key"]
    assert read(old) is None


@pytest.mark.parametrize("token", ["", "x" * LENGTH, "-" * LENGTH, "é" * LENGTH, "x" * 43 + "="])
def test_odd_texts_of_the_right_length_are_nobody_s(token):
    assert read(token) is None
