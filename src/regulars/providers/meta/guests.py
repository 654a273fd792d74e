"""What guests say over WhatsApp: messages, and choices about marketing in the app itself. Pure."""

import re
from typing import Any

from regulars.providers import callbacks
from regulars.providers.callbacks import Choice, Inbound
from regulars.providers.classes import plain

# A business-scoped user id; `ENT` for one that the businesses of one parent share.
_USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")


def said(message: dict[str, Any], ours: str = "") -> Inbound | Choice | None:
    """What a guest wrote to our number with this id, or chose in the app; None where it is neither."""
    if not message.get("id"):
        return None
    system = callbacks.mapped(message.get("system"))
    if system.get("type") == "user_preference_changed":
        told = {"wa_id": message.get("from"), "value": system.get("marketing"), "detail": system.get("body")}
        return choice(message | told)
    if message.get("type") in ("system", "unsupported", "reaction"):
        return None
    address = who(message, "from", "from_user_id")
    named = _user_id(message, "from_user_id")
    return Inbound(
        key=str(message["id"])[:255],
        channel="whatsapp",
        address=address,
        text=_text(message),
        at=callbacks.moment(message.get("timestamp")),
        to=ours,
        user_id="" if named == address else named,
    )


def who(row: dict[str, Any], *names: str) -> str:
    """The number, else the user id (`ES.1349…`) of a guest who hides it behind a user name."""
    return callbacks.phone(row.get(names[0])) or _user_id(row, *names[1:])


def _user_id(row: dict[str, Any], *names: str) -> str:
    named = (row.get(name) for name in (*names, "user_id"))
    return next((one for one in named if isinstance(one, str) and _USER_ID.fullmatch(one)), "")


def _text(message: dict[str, Any]) -> str:
    """What was typed, the button that was pressed, or what kind of thing was sent."""
    kind = str(message.get("type"))
    inside = callbacks.mapped(message.get(kind))
    reply = callbacks.mapped(inside.get(str(inside.get("type"))))
    for text in (inside.get("body"), inside.get("text"), reply.get("title"), inside.get("caption")):
        if isinstance(text, str) and text:
            return text
    return f"[{kind}]"


def choice(preference: dict[str, Any]) -> Choice | None:
    """A guest stops or resumes marketing in the app; None for other choices."""
    value, number = preference.get("value"), who(preference, "wa_id", "user_id")
    if value not in ("stop", "resume") or not number:
        return None
    if preference.get("category", "marketing_messages") != "marketing_messages":
        return None
    return Choice(
        key=f"{number}:{value}:{preference.get('timestamp')}",
        channel="whatsapp",
        address=number,
        stop=value == "stop",
        words=plain(str(preference.get("detail") or "")),
        at=callbacks.moment(preference.get("timestamp")),
    )
