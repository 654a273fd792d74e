"""Rules of the house that are worth running: rooms stay small, and one door leads to the task engine."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "regulars"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "migrations" not in path.parts)

# Path below src/regulars -> why it may be larger than its room allows.
LARGE_MODULES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}

MOST_LINES = 400
MOST_ADAPTER_LINES = 150
MOST_FUNCTION_LINES = 40


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_is_one_room(path):
    name = str(path.relative_to(SOURCE))
    adapter = path.parent.parent == SOURCE / "providers"
    limit = MOST_ADAPTER_LINES if adapter else MOST_LINES
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= limit or name in LARGE_MODULES, f"{name} has {lines} lines, at most {limit}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_function_fits_on_a_screen(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            name = f"{path.relative_to(SOURCE)}:{node.name}"
            assert lines <= MOST_FUNCTION_LINES or name in LONG_FUNCTIONS, f"{name}: {lines} lines"


def test_work_is_deferred_only_through_the_one_door():
    """Another way would commit apart from the ledger (see runs/deferring.py)."""
    forbidden = re.compile(r"\.(defer|defer_async|batch_defer\w*|configure_task)\(|procrastinate_defer_jobs")
    for path in MODULES:
        if path.name == "deferring.py":
            continue
        text = path.read_text(encoding="utf-8")
        if "procrastinate" not in text:
            continue
        assert not forbidden.search(text), f"{path.relative_to(SOURCE)} defers by itself"


def test_no_file_names_a_registry_host():
    root = SOURCE.parent.parent
    hosts = re.compile(r"py" r"pi\.org|python" r"hosted|npm" r"js\.org")
    for folder in ("requirements", "tests", ".ci"):
        for path in (root / folder).rglob("*"):
            if path.is_file() and path.suffix in {".in", ".lock", ".json", ".py", ".toml", ""}:
                assert not hosts.search(path.read_text(encoding="utf-8", errors="ignore")), path


def test_every_reason_has_words():
    from regulars.runs.eligibility import LAST_LOOK_RULES, ROW_RULES, words

    for rule in (*ROW_RULES, *LAST_LOOK_RULES):
        assert words(rule.reason) != rule.reason.replace("_", " ") or " " in words(rule.reason)
        assert words(rule.reason)
