"""Spanish is complete, and the compiled file is the one that belongs to the text."""

import gettext
import re
from pathlib import Path

import pytest
from django.utils.translation.template import templatize

import regulars.dashboard
from regulars.automations import condition_fields, conditions, triggers
from regulars.dashboard import elsewhere
from regulars.runs import eligibility, explaining

ROOM = Path(regulars.dashboard.__file__).parent
PO = ROOM / "locale/es/LC_MESSAGES/django.po"


def _text(lines):
    """The string that a msgid or msgstr and its continuation lines spell."""
    parts = [re.search(r'"(.*)"$', line)[1] for line in lines]
    return "".join(parts).replace(r"\"", '"').replace(r"\n", "\n").replace(r"\\", "\\")


def _entries():
    """Each entry of the .po file: {msgid: {form: translation}}."""
    entries = {}
    for block in PO.read_text().split("\n\n"):
        pieces = re.split(r"\n(?=msg)", "\n" + block)
        fields = {
            re.match(r"(msgid_plural|msgid|msgstr(?:\[\d\])?)", piece)[1]: _text(piece.splitlines())
            for piece in pieces
            if piece.startswith("msg")
        }
        if fields:
            entries[fields.pop("msgid")] = fields
    return entries


@pytest.fixture(scope="module")
def entries():
    return _entries()


def test_the_compiled_file_belongs_to_the_text(entries):
    with PO.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)._catalog
    # gettext keeps the header as the translation of nothing, and rewrites its lines.
    compiled.pop("")
    expected = {}
    for msgid, fields in entries.items():
        if not msgid:
            continue
        if "msgstr" in fields:
            expected[msgid] = fields["msgstr"]
        else:
            expected |= {(msgid, form): fields[f"msgstr[{form}]"] for form in (0, 1)}
    assert compiled == expected, "Compile it again: django-admin compilemessages"


def test_nothing_is_left_untranslated(entries):
    empty = [
        msgid
        for msgid, fields in entries.items()
        for name, text in fields.items()
        if name.startswith("msgstr") and not text
    ]
    assert empty == []
    assert "fuzzy" not in PO.read_text()


def test_every_text_of_the_templates_has_an_entry(entries):
    for template in ROOM.rglob("*.html"):
        code = templatize(template.read_text())
        found = re.findall(r"""(?:^|\W)n?(?:_|gettext)\(\s*u?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", code)
        for literal in found:
            text = literal[1:-1].replace(r"\'", "'")
            assert text in entries, f"{template.name}: {text!r}. Run django-admin makemessages -l es"


def test_every_text_of_the_code_has_an_entry(entries):
    import ast

    names = {"gettext", "ngettext", "gettext_noop", "_"}
    for module in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    assert first.value in entries, f"{module.name}: {first.value!r}"


def test_every_reason_and_trigger_has_spanish_words():
    assert {eligibility.words(reason) for reason in eligibility.REASONS} <= set(elsewhere.REASONS)
    assert {trigger.label for trigger in triggers.all_triggers()} == set(elsewhere.TRIGGERS)


def _texts(node):
    """The constants that an expression may give: itself, or both sides of an `if`."""
    import ast

    if isinstance(node, ast.IfExp):
        return _texts(node.body) | _texts(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def _evidence_of(module):
    """The words of every fact that a module can tell: given to `Evidence`, or first kept in `words`."""
    import ast

    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Evidence":
            found |= _texts(node.args[1])
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "words":
            found |= _texts(node.value)
    return found


def test_every_fact_has_spanish_words():
    said = set()
    for module in ROOM.parent.rglob("*.py"):
        if ROOM not in module.parents and "automations.evidence import" in module.read_text():
            said |= _evidence_of(module)
    assert len(said) > 30
    assert said == set(elsewhere.EVIDENCE)
    assert {explaining.NOT_DUE, explaining.UNMATCHED, explaining.WOULD_GO_LATER} == set(elsewhere.VERDICTS)


def test_every_condition_has_spanish_words():
    signs = {">=", "≥", "≤", ">", "<"}
    said = {field.label for field in conditions.all_fields()} | set(condition_fields.OPERATOR_WORDS.values())
    assert said - signs == set(elsewhere.CONDITIONS)


def test_every_fault_of_an_account_has_spanish_words():
    from regulars.automations import problems

    said = {words for kind, words in problems._WORDS.items() if kind not in ELSEWHERE_OR_NEVER}
    for module in (ROOM.parent / "providers").glob("*/options.py"):
        said |= _raised(module)
    said |= _raised(ROOM.parent / "providers/mail.py")
    assert said <= set(elsewhere.ACCOUNT_FAULTS)


# Texts of others, and what no field of a form can be.
ELSEWHERE_OR_NEVER = {
    *("value_error", "bool_type", "bool_parsing", "list_type", "tuple_type", "dict_type", "model_type"),
    *("too_short", "too_long", "greater_than", "less_than", "literal_error", "enum"),
}


def _raised(module):
    """The texts of the `ValueError`s that a module raises."""
    import ast

    raised = [
        node.args[0]
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ValueError"
    ]
    return {text for each in raised for text in _texts(each)}


def test_translations_keep_their_placeholders(entries):
    def placeholders(text):
        return set(re.findall(r"%\(\w+\)\w|\{\w+\}", text))

    for msgid, fields in entries.items():
        for name, text in fields.items():
            if msgid and name.startswith("msgstr"):
                # A singular may say "one" in letters.
                original = msgid if name in ("msgstr", "msgstr[0]") else fields["msgid_plural"]
                assert placeholders(text) == placeholders(original), msgid
