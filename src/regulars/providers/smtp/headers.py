"""What may stand in a letter's headers, and how. Pure; nothing here can start a new line."""

import base64
import re

import idna

LINE_LIMIT = 998
# 39 bytes make an encoded word of 64 characters: it fits on a line after "Subject: ".
WORD_BYTES = 39

_PLAIN = re.compile(r"[!-~]([ -~]*[!-~])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_ADDRESS = re.compile(r"[^\s<>()\[\]\\,;:\"@\x00-\x1f\x7f]{1,64}@[^\s<>()\[\]\\,;:\"@\x00-\x1f\x7f]{1,253}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,76}")
_OURS = {"from", "to", "cc", "bcc", "sender", "subject", "date", "message-id", "mime-version"}


class UnwritableError(ValueError):
    """The message cannot be written as a letter; the text says why."""

    def __init__(self, words: str, *, bad_address: bool = False) -> None:
        super().__init__(words)
        self.bad_address = bad_address


def envelope_address(address: str) -> str:
    """The address as servers want it: the domain in ASCII."""
    if not _ADDRESS.fullmatch(address):
        raise UnwritableError("Invalid address", bad_address=True)
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        raise UnwritableError("Invalid address", bad_address=True) from None


def subject_text(subject: str) -> bytes:
    if _CONTROL.search(subject):
        raise UnwritableError("The subject contains a line break or a control character")
    return header_text(subject)


def extra_header(header: tuple[str, str]) -> bytes:
    """One header on one line, as List-Unsubscribe must be."""
    name, value = header
    lower = name.lower()
    if not _HEADER_NAME.fullmatch(name) or lower in _OURS or lower.startswith("content-"):
        raise UnwritableError(f"The header {name!r} cannot be set")
    if not _PLAIN.fullmatch(value) or len(name) + len(value) + 2 > LINE_LIMIT:
        raise UnwritableError(f"The header {name} must be one line of plain characters")
    return f"{name}: {value}\r\n".encode()


def header_text(text: str) -> bytes:
    """Free text in a header (RFC 2047), cut at whole characters and folded where it is long."""
    if not text or (len(text) <= 67 and "=?" not in text and _PLAIN.fullmatch(text)):
        return text.encode()
    words, word = [], b""
    for character in text:
        piece = character.encode("utf-8", "replace")
        if len(word) + len(piece) > WORD_BYTES:
            words.append(word)
            word = b""
        word += piece
    words.append(word)
    return b"\r\n ".join(b"=?utf-8?b?" + base64.b64encode(word) + b"?=" for word in words)


def mailbox(name: str, address: str) -> bytes:
    """`Name <address>`, the name quoted or encoded as needed."""
    if not name:
        return address.encode()
    plain = "=?" not in name and _PLAIN.fullmatch(name)
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return (quoted.encode() if plain else header_text(name)) + f" <{address}>".encode()
