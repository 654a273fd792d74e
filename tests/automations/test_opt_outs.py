"""Every advertising message tells the way out, in the words of its language and the country's law."""

import pytest

from regulars.automations.opt_outs import ending, with_link
from regulars.automations.rendering import compile_template
from regulars.automations.sms import Encoding, sms_parts

LINK = "https://casa.example.com/u/abc"
MJML = (
    "<mjml><mj-body><mj-section><mj-column><mj-text>Hola</mj-text></mj-column></mj-section></mj-body></mjml>"
)


def mail(body, language="es"):
    return compile_template("email", "Hola", with_link(body, language)).render({"unsubscribe_url": LINK})


@pytest.mark.parametrize(
    "body",
    ["Te echamos de menos", "<p>Te echamos de menos</p>", "<html><body><p>x</p></BODY></html>", MJML],
    ids=["text", "html", "whole html", "mjml"],
)
def test_a_mail_without_a_link_gets_one_in_both_of_its_faces(body):
    shown = mail(body)
    assert shown.html.count(f'href="{LINK}"') == 1
    assert "Darse de baja" in shown.html
    assert shown.body.count(LINK) == 1


@pytest.mark.parametrize(
    "body", ["Adiós: {{ unsubscribe_url }}", '<p><a href="{{ unsubscribe_url }}">Adiós</a></p>']
)
def test_the_owner_s_own_link_is_enough(body):
    assert with_link(body, "es") == body
    assert mail(body).html.count(f'href="{LINK}"') == 1


def test_a_language_without_words_of_its_own_gets_the_english_ones():
    assert "Unsubscribe" in mail("Hej", "sv").html


@pytest.mark.parametrize(
    ("address", "language", "said"),
    [
        ("+34612345678", "es", "responde BAJA"),
        ("+34612345678", "ca", "respon BAIXA"),
        ("+34612345678", "en", "Reply STOP"),
        ("+33612345678", "es", "responde STOP"),
        ("+12015550123", "es", "responde STOP"),
        ("+4915112345678", "de", "antworte STOPP"),
        ("+971501234567", "en", ""),
    ],
)
def test_a_text_message_names_the_word_where_the_law_asks_for_it(address, language, said):
    more = ending("sms", "Ven a vernos", language, address)
    assert said in more
    assert bool(more) == bool(said)


@pytest.mark.parametrize("text", ["Ven. BAJA para no recibir", "Reply STOP to end"])
def test_a_text_that_says_it_already_is_left_alone(text):
    assert ending("sms", text, "es", "+34612345678") == ""


def test_planta_baja_is_no_way_out():
    assert ending("sms", "Te esperamos en la planta baja", "es", "+34612345678")


def test_a_sender_without_replies_gives_the_link():
    assert ending("sms", "Ven", "es", "+34612345678", LINK) == f"\nBaja: {LINK}"


@pytest.mark.parametrize("language", ["en", "es", "ca", "fr", "de", "it", "pt", "nl"])
def test_the_ending_makes_no_part_dearer(language):
    assert sms_parts(ending("sms", "x", language)).encoding is Encoding.GSM7
