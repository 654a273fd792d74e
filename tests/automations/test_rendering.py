"""What a guest reads: names as they are in texts, escaped in HTML, and never a hole."""

import copy
from datetime import date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.automations import liquid
from regulars.automations.dates import DateFormatError, format_moment
from regulars.automations.rendering import (
    COMMON_SAMPLE,
    MissingValueError,
    RenderError,
    TemplateError,
    compile_template,
)

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(lambda name: name.strip())


def guest(**customer):
    variables = copy.deepcopy(COMMON_SAMPLE)
    variables["customer"] |= customer
    return variables


def html_of(body, **customer):
    return compile_template("email", "Hola", body).render(guest(**customer)).html


@given(name=NAMES)
def test_a_name_is_untouched_in_a_text(name):
    template = compile_template("sms", "", "Hola {{ customer.first_name }}!")
    # Line ends are one kind, whatever the form or the file had.
    expected = f"Hola {name}!".replace("\r\n", "\n").replace("\r", "\n")
    assert template.render(guest(first_name=name)).body == expected


@pytest.mark.parametrize("name", ["<b>", "O'Hara & Söhne", '"><img src=x onerror=1>'])
def test_a_name_is_escaped_in_html_and_untouched_in_its_text_part(name):
    body = "<p>Hola {{ customer.first_name }}</p>"
    rendered = compile_template("email", "Para {{ customer.first_name }}", body).render(
        guest(first_name=name)
    )
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")
    assert rendered.html == f"<p>Hola {escaped.replace(chr(39), '&#39;')}</p>"
    assert rendered.body == f"Hola {name}"
    assert rendered.subject == f"Para {name}"


@pytest.mark.parametrize("name", sorted(set(liquid._FILTERS) - {"date"}))
def test_no_filter_lets_a_name_become_markup(name):
    arguments = {
        "append": ': "x"', "prepend": ': "x"', "default": ': "x"', "join": ': ", "',
        "remove": ': "q"', "remove_first": ': "q"', "remove_last": ': "q"',
        "replace": ': "q", "z"', "replace_first": ': "q", "z"', "replace_last": ': "q", "z"',
        "slice": ": 0, 40", "split": ': " "', "truncate": ": 40", "truncatewords": ": 9",
        "at_most": ": 3", "at_least": ": 3", "divided_by": ": 3", "minus": ": 3",
        "plus": ": 3", "times": ": 3", "modulo": ": 3",
    }  # fmt: skip
    body = f"<p>{{{{ customer.first_name | {name}{arguments.get(name, '')} }}}}</p>"
    try:
        html = html_of(body, first_name="<b>Marta</b> <script>alert(1)</script>")
    except RenderError:
        return
    inner = html.removeprefix("<p>").removesuffix("</p>").replace("<br />", "").replace("<br>", "")
    assert "<" not in inner


@given(name=NAMES)
def test_no_name_brings_markup_into_html(name):
    html = html_of("<p>{{ customer.first_name | upcase | append: '!' }}</p>", first_name=name)
    assert "<" not in html[3:-4]


def test_a_subject_never_gets_a_second_line():
    template = compile_template("email", "Hola {{ customer.first_name }}", "x")
    subject = template.render(guest(first_name="Eve\r\nBcc: all@example.com\u2028x")).subject
    assert subject == "Hola Eve Bcc: all@example.com x"


def test_an_empty_name_takes_the_fallback_text():
    template = compile_template("sms", "", 'Hola {{ customer.first_name | default: "amigo" }}')
    for nothing in ("", None):
        assert template.render(guest(first_name=nothing)).body == "Hola amigo"
    without = guest()
    del without["customer"]["first_name"]
    assert template.render(without).body == "Hola amigo"


@pytest.mark.parametrize("nothing", ["", None, "  "])
@pytest.mark.parametrize("use", ["", " | upcase", ' | append: "!"'])
def test_an_empty_name_without_fallback_is_refused_and_never_a_hole(nothing, use):
    template = compile_template("sms", "", f"Hola {{{{ customer.first_name{use} }}}}")
    with pytest.raises(MissingValueError) as hole:
        template.render(guest(first_name=nothing))
    assert hole.value.name == "customer.first_name"


def test_an_unknown_variable_is_refused():
    with pytest.raises(RenderError, match="surname"):
        compile_template("sms", "", "{{ customer.surname }}").render(guest())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("uno\ndos {% if customer.tier %}", "Line 2.*if.*never closed"),
        ("uno\n{{ customer.name | uper }}", "uper"),
        ("{% include 'secret' %}", "include"),
        ("{% render 'secret' %}", "render"),
        ("{{ customer.name", "Line 1"),
    ],
)
def test_a_syntax_error_says_where(body, words):
    with pytest.raises((TemplateError, RenderError), match=words):
        compile_template("sms", "", body).render(guest())


def test_a_loop_and_an_output_have_limits():
    with pytest.raises(RenderError, match="limit"):
        compile_template("email", "x", "{% for i in (1..1001) %}a{% endfor %}").render(guest())
    doubling = '{% assign a = "aaaaaaaaaa" %}' + "{% assign a = a | append: a %}" * 18 + "{{ a }}"
    with pytest.raises(RenderError, match="limit"):
        compile_template("email", "x", doubling).render(guest())


def test_an_sms_of_1600_characters_goes_and_of_1601_does_not():
    template = compile_template("sms", "", "{{ customer.first_name }}")
    assert len(template.render(guest(first_name="a" * 1600)).body) == 1600
    with pytest.raises(RenderError, match="1601"):
        template.render(guest(first_name="a" * 1601))


MJML = """<mjml><mj-head><mj-preview>Para {{ customer.first_name }}</mj-preview></mj-head>
<mj-body><mj-section><mj-column>
<mj-text>Hola {{ customer.first_name | default: "amigo" }}, {% if customer.tier == "gold" %}oro{% else %}plata{% endif %}
{% if 1 < 2 %}menos{% endif %}</mj-text>
<mj-button href="https://example.com/?n={{ customer.name | url_encode }}">Reservar en {{ venue.name }}</mj-button>
</mj-column></mj-section></mj-body></mjml>"""


def test_mjml_becomes_html_with_its_liquid():
    rendered = compile_template("email", "Hola", MJML).render(guest(first_name="<Ana>", tier="gold"))
    assert "Hola &lt;Ana&gt;, oro" in rendered.html
    assert "menos" in rendered.html
    assert 'href="https://example.com/?n=Marta+Soler"' in rendered.html
    assert "mj-" not in rendered.html.replace("mj-column", "").replace("mj-outlook", "")
    assert "Hola <Ana>, oro" in rendered.body
    assert "Reservar en Casa Pepe Centro (https://example.com/?n=Marta+Soler)" in rendered.body
    assert "zqx" not in rendered.html + rendered.body


def test_mjml_fetches_nothing_from_others():
    assert "fonts.googleapis" not in compile_template("email", "Hola", MJML).render(guest()).html


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<mjml><mj-body><mj-text>x</mj-body></mjml>", "well formed"),
        ('<mjml><mj-body><mj-include path="/etc/hosts" /></mj-body></mjml>', "well formed"),
        (
            "<mjml><mj-head>\n<mj-attributes>{{ customer.name }}</mj-attributes></mj-head><mj-body></mj-body></mjml>",
            "Line 2|well formed",
        ),
    ],
)
def test_mjml_that_cannot_be_used_is_refused(body, words):
    with pytest.raises(TemplateError, match=words) as fault:
        compile_template("email", "x", body)
    assert fault.value.part == "body"


def test_a_plain_text_gets_an_html_of_paragraphs_and_links():
    body = "Hola {{ customer.first_name }} & co,\nte esperamos.\n\nhttps://example.com/mesa?a=1&b=2."
    rendered = compile_template("email", "x", body).render(guest(first_name="<b>"))
    assert rendered.body == body.replace("{{ customer.first_name }}", "<b>")
    assert "<p>Hola &lt;b&gt; &amp; co,<br>te esperamos.</p>" in rendered.html
    link = "https://example.com/mesa?a=1&amp;b=2"
    assert f'<p><a href="{link}">{link}</a>.</p>' in rendered.html


def test_an_html_gets_a_text_without_what_nobody_reads():
    body = """<html><head><title>T</title><style>p {color: red}</style></head><body>
    <!-- nota --><h1>Hola&nbsp;{{ customer.first_name }}</h1><p>Dos   palabras<br>y &amp; más</p>
    <ul><li>uno</li><li>dos</li></ul><a href="https://example.com">Ven</a>
    <img src="x.png" alt="La casa"></body></html>"""
    text = compile_template("email", "x", body).render(guest()).body
    assert text == (
        "Hola Marta\n\nDos palabras\ny & más\n\n- uno\n- dos\n\nVen (https://example.com) La casa"
    )


def test_liquid_across_the_edge_of_a_tag_is_refused_in_words():
    body = "<p class='{% if customer.tier %}a'>Hola</p>{% endif %}"
    with pytest.raises(TemplateError, match="same side"):
        compile_template("email", "x", body)


def test_words_for_people_and_markup_are_told_apart():
    rendered = compile_template("email", "x", "2 < 3 and I <3 you").render(guest())
    assert rendered.body == "2 < 3 and I <3 you"
    assert "2 &lt; 3 and I &lt;3 you" in rendered.html


def test_only_an_email_has_a_subject_and_html():
    rendered = compile_template("whatsapp", "", "<b>Hola</b>").render(guest())
    assert (rendered.subject, rendered.body, rendered.html) == ("", "<b>Hola</b>", "")


def test_a_template_is_compiled_once_and_the_cache_is_bounded():
    assert compile_template("sms", "", "una vez") is compile_template("sms", "", "una vez")
    assert compile_template.cache_parameters()["maxsize"] == 512


MOMENT = datetime(2026, 6, 15, 9, 5)


@pytest.mark.parametrize(
    ("pattern", "spanish", "english"),
    [
        ("long", "lunes 15 de junio", "Monday, 15 June"),
        ("short", "15/06/2026", "15/06/2026"),
        ("time", "09:05", "09:05"),
        ("%a %-d %b %y", "lun 15 jun 26", "Mon 15 Jun 26"),
        ("%I:%M %p, 100%%", "09:05 AM, 100%", "09:05 AM, 100%"),
    ],
)
def test_dates_speak_the_language_of_the_template(pattern, spanish, english):
    for value in (MOMENT, "2026-06-15T09:05"):
        assert format_moment(value, pattern, "es") == spanish
        assert format_moment(value, pattern, "en") == english
        assert format_moment(value, pattern, "fr") == english
    assert format_moment(date(2026, 6, 15), "long", "es-MX") == "lunes 15 de junio"


@pytest.mark.parametrize(
    ("value", "pattern"), [("now", "long"), ("mañana", "%d"), (MOMENT, "%Q"), (MOMENT, "5%")]
)
def test_what_is_no_date_or_no_form_is_refused(value, pattern):
    with pytest.raises(DateFormatError):
        format_moment(value, pattern, "es")


def test_a_date_without_given_language_is_in_the_guests():
    body = '{{ "2026-06-15" | date }}'
    for tongue, expected in (("es", "lunes 15 de junio"), ("en", "Monday, 15 June")):
        assert compile_template("sms", "", body).render(guest(language=tongue)).body == expected
    assert compile_template("sms", "", body, "en").render(guest(language="es")).body == "Monday, 15 June"


def test_the_moment_of_sending_cannot_enter_a_message():
    with pytest.raises(RenderError, match="moment of sending"):
        compile_template("sms", "", '{{ "now" | date: "%Y" }}').render(guest())


@settings(max_examples=200)
@given(body=st.text(st.sampled_from("{}%|<>/p \"'a.\n"), max_size=40))
def test_any_text_is_either_compiled_or_refused_in_words(body):
    try:
        compile_template("email", "x", body).render(guest())
    except (TemplateError, RenderError) as error:
        words = str(error)
    else:
        return
    assert words.endswith((".", ")"))


@pytest.mark.parametrize("nothing", ["", " ", None])
def test_an_empty_text_is_false_in_a_condition(nothing):
    body = (
        "{% if customer.first_name and customer.tier %}A{% elsif customer.tier %}B{% endif %}"
        "{% unless customer.first_name %}C{% endunless %}"
    )
    template = compile_template("sms", "", body)
    assert template.render(guest(first_name=nothing)).body == "BC"
    assert template.render(guest(first_name="Ana")).body == "A"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "{% for venue in (1..2) %}{{ venue.name | default: 'hidden' }} {% endfor %}{{ venue.name }}",
            "hidden hidden Bar",
        ),
        (
            "{{ venue.name }} {% capture venue %}x{% endcapture %}{{ venue.name | default: 'hidden' }}",
            "Bar hidden",
        ),
        ("{{ venue.size }}", "1"),
    ],
)
def test_a_name_that_the_template_gives_hides_the_guests(body, says):
    variables = guest() | {"venue": {"name": "Bar"}}
    assert compile_template("sms", "", body).render(variables).body == says


def test_a_break_outside_a_loop_is_refused():
    with pytest.raises(RenderError, match="inside"):
        compile_template("sms", "", "Hola {% break %}").render(guest())


def test_one_guest_leaves_nothing_for_the_next():
    template = compile_template("sms", "", "{% assign a = customer.name %}{{ a }}")
    assert [template.render(guest(name=name)).body for name in ("Ana", "Leo")] == ["Ana", "Leo"]
