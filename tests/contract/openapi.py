"""Requests held against the providers' API descriptions, by `jsonschema`, inside the fault servers.

Prism (`prism.py`) does the same, but is too slow and too stateless for more than a look.
"""

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from . import prism


class Description:
    """One description file."""

    def __init__(self, path: Path) -> None:
        self._document = json.loads(path.read_text(encoding="utf-8"))

    def faults(self, path: str, body: bytes, kind: str) -> list[str]:
        """What is wrong with a POST of these bytes to this path; empty: nothing."""
        operation = self._document["paths"].get(path, {}).get("post")
        if operation is None:
            return [f"there is no POST {path}"]
        content = operation["requestBody"]["content"].get(kind.partition(";")[0])
        if content is None:
            return [f"{path} does not take {kind}"]
        validator = self._validator(json.dumps(content["schema"], sort_keys=True))
        return [
            f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(json.loads(body))
        ]

    def errors(self, path: str) -> list[tuple[int, str, Any]]:
        """The errors that it gives for a POST to this path: status, name and body of each."""
        answers = self._document["paths"][path]["post"]["responses"]
        return [
            (int(status), name, example["value"])
            for status, answer in answers.items()
            if int(status) >= 400
            for name, example in answer["content"]["application/json"]["examples"].items()
        ]

    @functools.cache  # noqa: B019 - there are three of them
    def _validator(self, schema: str) -> Draft202012Validator:
        whole = {**json.loads(schema), "components": self._document["components"]}
        return Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)


@functools.cache
def description(name: str) -> Description | None:
    """The description of this name; None where the descriptions are not here."""
    try:
        return Description(prism.specs() / name)
    except prism.MissingError:
        return None
