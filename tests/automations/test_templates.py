"""What is refused when a template is saved, and what only when it is switched on."""

import pytest

from regulars.automations.templates import (
    check_fallbacks,
    check_languages,
    check_template,
    check_translations,
    vocabulary_of,
)


@pytest.fixture
def vocabulary(harvest):
    return vocabulary_of(harvest)


def problems(vocabulary, body, subject="", channel="sms"):
    return check_template(channel, subject, body, vocabulary, "templates", 0)


@pytest.mark.parametrize(
    ("channel", "subject", "body", "path", "words"),
    [
        ("sms", "", " \n", "templates[0].body", "empty"),
        ("sms", "Hola", "x", "templates[0].subject", "Only e-mails"),
        ("email", "", "x", "templates[0].subject", "needs a subject"),
        ("email", "Hola\nBcc: a@example.com", "x", "templates[0].subject", "one line"),
        ("email", "Hola\r", "x", "templates[0].subject", "one line"),
        ("email", "Hola {{ customer.nmae }}", "x", "templates[0].subject", "customer.name"),
        ("email", "Hola", "<p>x</p><script>1</script>", "templates[0].body", "<script>"),
        ("sms", "", "uno\n{% if %}x{% endif %}", "templates[0].body", "Line 2"),
        ("sms", "", "uno\n{{ customer.firstname }}", "templates[0].body", "customer.first_name"),
        ("sms", "", "uno\n{{ customer.firstname }}", "templates[0].body", "Line 2"),
        ("sms", "", "{{ reservation.time }}", "templates[0].body", "basket.weight"),
        ("sms", "", "{{ customer }}", "templates[0].body", "several parts"),
        ("sms", "", "{{ customer['first_name', 1] }}", "templates[0].body", ""),
        ("sms", "", "{{ now }}", "templates[0].body", "no variable"),
        ("sms", "", "{% include 'other' %}", "templates[0].body", "include"),
        ("sms", "", "{% assign n = customer.name %}", "templates[0].body", "says nothing"),
        ("sms", "", "a" * 1601, "templates[0].body", "1600"),
        ("email", "x", "a" * 200_001, "templates[0].body", "200000"),
        ("email", "x", "<mjml><mj-body>", "templates[0].body", "well formed"),
        ("sms", "", "{{ basket.picked_at | date: '%Q' }}", "templates[0].body", "%Q"),
        ("sms", "", "a\x00", "templates[0].body", "null"),
    ],
)
def test_a_bad_template_is_refused_with_its_place(vocabulary, channel, subject, body, path, words):
    found = problems(vocabulary, body, subject, channel)
    assert any(item["path"] == path and words in item["problem"] for item in found), found


@pytest.mark.parametrize(
    "body",
    [
        "Hola {{ customer.first_name }}, {{ basket.weight }} kg en {{ venue.name }}",
        "{% for n in (1..3) %}{{ n }}{{ forloop.index }}{% endfor %}",
        '{% assign who = customer.first_name | default: "amigo" %}Hola {{ who }}',
        "{% if customer.tier == 'gold' %}oro{% endif %} y {{ basket.picked_at | date: 'time' }}",
    ],
)
def test_a_sound_template_has_no_problem(vocabulary, body):
    assert problems(vocabulary, body) == []


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ("Hola {{ customer.first_name }}", ["customer.first_name"]),
        ('Hola {{ customer.first_name | default: "amigo" }}', []),
        ('Hola {{ customer.first_name | capitalize | default: "amigo" }}', []),
        ("Hola {{ customer.first_name | append: '!' }}", ["customer.first_name"]),
        ("{% if customer.first_name != '' %}Hola {{ customer.first_name }}{% endif %}.", []),
        (
            "{% if customer.first_name != '' %}{{ customer.last_name }}{% endif %}.",
            ["customer.last_name"],
        ),
        (
            "{% if customer.tier == '' %}{{ customer.first_name }}{% endif %}.",
            ["customer.first_name"],
        ),
        (
            "{{ customer.first_name }} {{ customer.last_name }}",
            ["customer.first_name", "customer.last_name"],
        ),
        ("{{ venue.name }} {{ organization.name }} {{ basket.weight }}", []),
        ("{{ basket.note }}", ["basket.note"]),
    ],
)
def test_a_variable_that_may_be_empty_needs_a_fallback(vocabulary, body, missing):
    found = check_fallbacks("sms", "", body, vocabulary, "templates", 0)
    assert [item["problem"].split("”")[0].strip("“") for item in found] == missing
    assert all(item["path"] == "templates[0].body" for item in found)


def test_a_plain_if_guards_a_variable(vocabulary):
    body = "{% if customer.first_name %}Hola {{ customer.first_name }}{% else %}Hola{% endif %}"
    assert check_fallbacks("sms", "", body, vocabulary, "templates", 0) == []


def test_a_hole_in_a_subject_is_named_there(vocabulary):
    found = check_fallbacks("email", "{{ customer.name }}", "x", vocabulary, "templates", 2)
    assert [item["path"] for item in found] == ["templates[2].subject"]


def test_each_channel_needs_the_language_of_the_organization():
    there = [("email", "es"), ("sms", "en")]
    (problem,) = check_languages(there, ["sms", "email"], "es")
    assert "SMS" in problem["problem"]
    assert "“es”" in problem["problem"]
    assert "en" in problem["problem"]
    assert check_languages([*there, ("sms", "es")], ["sms", "email"], "es") == []


def test_whatsapp_needs_every_language_that_others_have():
    there = [("whatsapp", "es"), ("email", "es"), ("email", "en")]
    (problem,) = check_translations(there, ["whatsapp", "email"])
    assert "“en”" in problem["problem"]
    assert check_translations(there, ["email"]) == []
    assert check_translations([*there, ("whatsapp", "en")], ["whatsapp", "email"]) == []
