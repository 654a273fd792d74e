"""The way out of advertising, on each message: its link, its headers, its last line.

Costs a message two hashes and no row. Previews get a link of the same length that is nobody's: whoever
looks at a preview must not unsubscribe a guest by it.
"""

from collections.abc import Mapping
from typing import Any

from regulars.automations.models import Template
from regulars.automations.opt_outs import with_link
from regulars.customers.models import Channel
from regulars.customers.unsubscribe_links import LENGTH, Link, sign, url

NOBODYS = "x" * LENGTH


def lawful_body(text: Template, *, advertises: bool) -> str:
    """The source of a template, with the link where an advertising e-mail lacks it."""
    if advertises and text.channel == Channel.EMAIL:
        return with_link(text.body, text.language)
    return text.body


def link_of(row: Mapping[str, Any]) -> str:
    """The address by which the guest of this row unsubscribes; nobody's, if there is no message yet."""
    if "id" not in row:
        return url(NOBODYS)
    return url(sign(Link(row["customer_id"], row["id"], row["channel"])))


def headers(link: str) -> dict[str, str]:
    """What makes mail programs show their own button, and act on one click (RFC 2369, RFC 8058)."""
    return {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
