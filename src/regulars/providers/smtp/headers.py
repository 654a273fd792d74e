"""What may stand in a letter's headers, and how. Pure; nothing here can start a new line."""

import base64

from regulars.providers.mail import PLAIN, checked_header, checked_subject

# 39 bytes make an encoded word of 64 characters: it fits on a line after "Subject: ".
WORD_BYTES = 39


def subject_text(subject: str) -> bytes:
    return header_text(checked_subject(subject))


def extra_header(header: tuple[str, str]) -> bytes:
    """One header on one line, as List-Unsubscribe must be."""
    name, value = checked_header(*header)
    return f"{name}: {value}\r\n".encode()


def header_text(text: str) -> bytes:
    """Free text in a header (RFC 2047), cut at whole characters and folded where it is long."""
    if not text or (len(text) <= 67 and "=?" not in text and PLAIN.fullmatch(text)):
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
    plain = "=?" not in name and PLAIN.fullmatch(name)
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return (quoted.encode() if plain else header_text(name)) + f" <{address}>".encode()
