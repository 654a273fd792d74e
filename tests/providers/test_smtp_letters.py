"""The hand-written letters, held to the standard library's parser."""

import email
import re
from email import policy
from email.header import decode_header, make_header
from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.providers.base import Outgoing
from regulars.providers.mail import UnwritableError
from regulars.providers.smtp.mime import Letterhead

# Everything but halves of characters; line ends as people type them.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=400)
LINES = st.lists(TEXT, max_size=6).map("\n".join) | st.lists(
    st.sampled_from([".", "..", "=", "--=_regulars_part", " ", "\t", "x" * 80, "é" * 40, "\r\n", "\r"])
).map("\n".join)
# No control characters, and no spaces at the ends, which no header keeps.
HEADER = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=200)


def letter(**fields):
    values = {"body": "Hola", "subject": "Hola", "address": "marta@example.com"} | fields
    return Letterhead("pepe@example.com", "Casa Pepe").write(Outgoing(7, "key", "email", **values))


def parsed(data: bytes):
    """What a receiving server keeps: without the final dot, doubled dots undone."""
    assert data.endswith(b"\r\n.\r\n")
    raw = re.sub(rb"(?m)^\.\.", b".", data[:-3])
    found = email.message_from_bytes(raw, policy=policy.default)
    assert not found.defects
    return found


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def content(part) -> str:
    raw = part.get_payload(decode=True).decode()
    return normal(raw)


@given(LINES, LINES)
def test_text_and_html_survive_whatever_they_contain(text, html):
    data = letter(body=text, html=html).data
    found = parsed(data)
    parts = list(found.iter_parts()) if found.is_multipart() else [found]
    assert not any(part.defects for part in parts)
    expected = [normal(one) for one in ((text, html) if text and html else (html or text,))]
    for part, one in zip(parts, expected, strict=True):
        # A letter's last line always ends.
        assert content(part) in (one, one + "\n")


@given(LINES, LINES, HEADER)
def test_letters_are_7_bit_short_lines_and_one_final_dot(text, html, subject):
    data = letter(body=text, html=html, subject=subject).data
    assert data.isascii()
    assert b"\x00" not in data
    lines = data.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 78
    assert lines.index(b".") == len(lines) - 2
    assert data.count(b"\r\n.\r\n") == 1


@given(HEADER)
def test_subjects_survive(subject):
    assert parsed(letter(subject=subject).data)["Subject"] == subject.strip(" ") or subject != (
        subject.strip()
    )


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs")), min_size=1, max_size=100))
def test_the_senders_name_survives(name):
    data = Letterhead("pepe@example.com", name).write(
        Outgoing(7, "key", "email", "marta@example.com", "Hola")
    )
    # Not the new parser: Python 3.11's leaves a space between two encoded words of a name.
    written, address = parseaddr(email.message_from_bytes(data.data)["From"])
    assert str(make_header(decode_header(written))) == name
    assert address == "pepe@example.com"


@pytest.mark.parametrize("evil", ["\r\n", "\n", "\r", "\r\n\r\n", "\x00", "\u2028", "\x85"])
def test_nothing_can_start_a_new_header(evil):
    inserted = f"Hola{evil}Bcc: other@example.com"
    for fields in (
        {"subject": inserted},
        {"address": f"marta@example.com{evil}Bcc:other@example.com"},
        {"headers": {"List-Unsubscribe": inserted}},
        {"headers": {inserted: "x"}},
    ):
        with pytest.raises(UnwritableError):
            letter(**fields)


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_letter_has_exactly_the_headers_it_should(subject, address):
    try:
        data = letter(subject=subject, address=address).data
    except UnwritableError:
        return
    names = [name for name, _ in parsed(data).items()]
    assert names == [
        "From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
        "Content-Transfer-Encoding",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "address",
    ["", "marta", "@example.com", "marta@", "a b@example.com", "a@b@c", "<a@example.com>",
     "a@example.com,b@example.com", '"a"@example.com', "a@example.com>", "a@" + "b" * 300,
     "a@-ü-.example", "a\t@example.com"],
)  # fmt: skip
def test_what_is_no_address_is_refused_as_one(address):
    with pytest.raises(UnwritableError) as caught:
        letter(address=address)
    assert caught.value.bad_address
    assert str(caught.value) == "Invalid address"


@pytest.mark.parametrize("name", ["From", "bcc", "Subject", "Content-Type", "Message-ID", "a b", ""])
def test_the_letters_own_headers_cannot_be_replaced(name):
    with pytest.raises(UnwritableError):
        letter(headers={name: "x"})


def test_the_message_id_is_stable_and_says_nothing_about_the_guest():
    first, second = letter(), letter(body="Again")
    assert first.message_id == second.message_id
    assert re.fullmatch(r"<m7\.[0-9a-f]{16}@example\.com>", first.message_id)
