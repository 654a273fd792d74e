"""What a server may be set to that breaks promises when it crashes, and what that would cost."""

UNSAFE = {
    "fsync": "a crash of the machine may destroy the whole database",
    "full_page_writes": "a crash may leave pages that are half old, half new",
    "synchronous_commit": (
        "what was committed in the second before a crash is forgotten (senders ask for `on` themselves, "
        "so that nobody is written to twice, but a consent withdrawn in that second is gone)"
    ),
}

# Asks for the server's own value: a session may have asked for better.
QUERY = """
SELECT name, reset_val AS setting FROM pg_settings
 WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND reset_val = 'off'
"""


def in_words(names: list[str]) -> str:
    """What is wrong with a server that has these switched off, and what it may cost."""
    return "; ".join(f"{name} is off: {UNSAFE[name]}" for name in sorted(names))
