"""Faults of what a person entered, in words that say where and what to do. Decides nothing."""

import difflib
from collections.abc import Iterable
from typing import Any, TypedDict

from pydantic import ValidationError


class Problem(TypedDict):
    """One fault: `path` like `templates[0].body`, `problem` a sentence for people."""

    path: str
    problem: str


class DefinitionError(ValueError):
    """Something entered cannot be used; `details` lists every fault found."""

    def __init__(self, details: list[Problem]) -> None:
        super().__init__("; ".join(f"{item['path']}: {item['problem']}" for item in details))
        self.details = details


def join_path(*parts: str | int) -> str:
    """`("templates", 0, "body")` as `templates[0].body`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def suggestion(word: str, known: Iterable[str]) -> str:
    """` Did you mean “days”?` when something known is close to `word`, else the empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean “{close[0]}”?" if close else ""


def listed(names: Iterable[str]) -> str:
    """Names for a sentence: `a, b, c`, or `none`."""
    return ", ".join(names) or "none"


def from_pydantic(error: ValidationError, known: Iterable[str], *prefix: str | int) -> list[Problem]:
    """Pydantic's findings in plain words, paths below `prefix`; `known` are the names allowed."""
    names = list(known)
    return [
        Problem(path=join_path(*prefix, *_steps(item["loc"])), problem=_words(dict(item), names))
        for item in error.errors(include_url=False)
    ]


def _steps(location: tuple[int | str, ...]) -> list[int | str]:
    # Pydantic adds the name of the tried type for a union; those are not part of the document.
    return [step for step in location if not (isinstance(step, str) and "[" in step)]


# What a person reads for each of pydantic's error types; the bounds come from its own context.
_WORDS = {
    "missing": "This is missing.",
    "int_type": "This must be a whole number.",
    "int_parsing": "This must be a whole number.",
    "int_from_float": "This must be a whole number.",
    "float_type": "This must be a number.",
    "float_parsing": "This must be a number.",
    "decimal_type": "This must be a number.",
    "string_type": "This must be text.",
    "string_too_short": "This must not be empty.",
    "string_too_long": "This must have at most {max_length} characters.",
    "string_pattern_mismatch": "This has not the expected form ({pattern}).",
    "bool_type": "This must be true or false.",
    "bool_parsing": "This must be true or false.",
    "list_type": "This must be a list.",
    "tuple_type": "This must be a list.",
    "dict_type": "This must be an object: {{…}}.",
    "model_type": "This must be an object: {{…}}.",
    "too_short": "At least {min_length} needed here.",
    "too_long": "At most {max_length} allowed here.",
    "greater_than_equal": "This must be at least {ge}.",
    "greater_than": "This must be more than {gt}.",
    "less_than_equal": "This must be at most {le}.",
    "less_than": "This must be less than {lt}.",
    "literal_error": "This must be {expected}.",
    "url_parsing": "This must be a whole address, such as https://example.com.",
    "url_scheme": "This must be a whole address, such as https://example.com.",
    "enum": "This must be {expected}.",
    "value_error": "{error}",
}


def _words(item: dict[str, Any], names: list[str]) -> str:
    if item["type"] == "extra_forbidden":
        name = str(item["loc"][-1])
        hint = suggestion(name, names)
        return f"There is no setting “{name}”.{hint} Known here: {listed(names)}."
    words = _WORDS.get(item["type"])
    return words.format(**item.get("ctx", {})) if words else f"{item['msg']}."
