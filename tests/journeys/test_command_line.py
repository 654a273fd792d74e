"""The commands, as people type them, each in a process of its own."""

import json
import os
import socket
from datetime import date, timedelta

import pytest
from tests import live
from tests.journeys.refusing import refused

from regulars.cli import Commands

GUESTS = """external_id;first_name;email;phone;email_consent
1;Marta;marta@example.com;;sí
2;Juan;juan@example.com;;no
3;Luis;;;sí
4;Ana;not an address;;sí
"""
LONG_AGO = date.today() - timedelta(days=100)
VISITS = f"""external_id,customer_external_id,visited_at,amount
v1,1,{LONG_AGO - timedelta(days=30)},"12,50"
v2,1,{LONG_AGO},20
v3,2,{LONG_AGO - timedelta(days=30)},20
v4,2,{LONG_AGO},20
v5,9,{LONG_AGO},20
"""
AUTOMATION = {
    "name": "We miss you",
    "trigger": "inactive",
    "parameters": {"days": 60},
    "channels": ["email"],
    "enabled": True,
    "templates": [
        {
            "channel": "email",
            "language": "es",
            "subject": "Te echamos de menos",
            "body": "Hola {{ customer.first_name | default: 'amigo' }}, vuelve a {{ venue.name }}",
        }
    ],
}


@pytest.mark.slow
def test_the_first_five_minutes_of_the_readme(installation, tmp_path):
    (tmp_path / "guests.csv").write_text(GUESTS, encoding="utf-8")
    (tmp_path / "visits.csv").write_text(VISITS, encoding="utf-8")
    live.run(installation, "organization", "create", "casa-pepe", "--name", "Casa Pepe")
    # Its tests run at any hour of the day.
    tact = json.loads(live.run(installation, "organization", "tact", "--quiet-hours", "none"))
    assert (tact["quiet_hours"], len(tact["caps"])) == (None, 2)
    live.run(
        installation,
        *("user", "create", "you@example.com", "--role", "owner", "--password-stdin"),
        input="a long and good password\n",
    )
    token = live.run(installation, "token", "create", "you@example.com").strip()
    assert len(token) >= 32
    imported = live.run(installation, "import", "customers", str(tmp_path / "guests.csv"))
    assert imported.startswith("3 new, 0 changed, 0 unchanged, 1 rejected")
    imported = live.run(installation, "import", "visits", str(tmp_path / "visits.csv"))
    assert imported.startswith("4 new, 0 changed, 0 unchanged, 1 rejected")
    live.run(installation, "provider", "add", "try-out", "--kind", "sandbox")
    live.run(installation, "automation", "create", "-", input=json.dumps(AUTOMATION))
    listed = json.loads(live.run(installation, "automation", "list", "--json"))
    assert [(row["name"], row["enabled"]) for row in listed] == [("We miss you", True)]
    preview = json.loads(live.run(installation, "preview", "we miss you", "--json"))
    assert (preview["due"], preview["send"]) == (2, 1)
    assert preview["skipped_by_reason"] == {"no_consent": 1}
    answer = json.loads(live.run(installation, "run", "We miss", "--json"))
    assert {key: answer[key] for key in ("processed", "sent", "skipped", "failed", "held")} == {
        "processed": 2,
        "sent": 1,
        "skipped": 1,
        "failed": 0,
        "held": 0,
    }
    assert "every invariant holds" in live.run(installation, "doctor", check=False)
    live.run(installation, "automation", "disable", "We miss you")
    assert "not active" in refused(installation, "run", "We miss you")


@pytest.mark.slow
def test_the_demo_answers_as_documented_and_can_be_repeated(installation):
    first = json.loads(live.run(installation, "demo", "--no-serve"))
    assert (first["processed"], first["sent"], first["skipped"], first["failed"]) == (45, 42, 2, 1)
    assert first["errors"] == ["Failed to send to +12015550102: Invalid phone number"]
    second = json.loads(live.run(installation, "demo", "--no-serve"))
    assert (second["processed"], second["sent"], second["skipped"], second["failed"]) == (45, 0, 45, 0)
    told = refused(
        installation,
        *(
            "provider",
            "add",
            "real",
            "--kind",
            "smtp",
            "-o",
            "host=127.0.0.1",
            "-o",
            "from_address=a@example.com",
        ),
    )
    assert "sandbox" in told


# What a schema consists of besides its rows.


@pytest.mark.slow
def test_troubles_are_one_line_that_says_what_to_do(installation, tmp_path):
    assert "regulars organization create" in refused(installation, "automation", "list")
    live.run(installation, "organization", "create", "one")
    assert "“two”" in refused(installation, "automation", "list", "--organization", "two")
    assert "Mars" in refused(installation, "organization", "create", "x", "--timezone", "Mars/Base")
    assert "already exists" in refused(installation, "organization", "create", "one")
    assert "Equal ends" in refused(installation, "organization", "tact", "--quiet-hours", "10:00-10:00")
    assert "no automation" in refused(installation, "automation", "order", "birthday")
    assert "carrier" in refused(installation, "provider", "add", "x", "--kind", "carrier-pigeon")
    assert "KEY=VALUE" in refused(installation, "provider", "add", "x", "--kind", "smtp", "-o", "host")
    assert "regulars automation list" in refused(installation, "preview", "nothing")
    assert "not JSON" in refused(installation, "automation", "create", "-", input="{")
    wrong = AUTOMATION | {"trigger": "full_moon"}
    assert "full_moon" in refused(installation, "automation", "create", "-", input=json.dumps(wrong))
    (tmp_path / "empty.csv").write_text("")
    assert "empty" in refused(installation, "import", "customers", str(tmp_path / "empty.csv")).lower()


def test_a_port_that_is_taken_is_said_before_anything_is_started(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {**os.environ, "REGULARS_HOME": str(tmp_path / "home")}
        environment.pop("DATABASE_URL", None)
        told = refused(environment, "web", "--port", str(port))
    assert f"--port {port + 1}" in told
    assert not (tmp_path / "home").exists()


def test_a_database_that_does_not_answer_is_said(tmp_path):
    environment = live.environment("postgresql://nobody@127.0.0.1:1/none", tmp_path / "home")
    assert "does not answer" in refused(environment, "automation", "list")
    assert not (tmp_path / "home" / "postgres").exists()


@pytest.mark.parametrize("name", [*Commands._modules])
def test_every_command_explains_itself(name):
    from click.testing import CliRunner

    from regulars.cli import program

    command = program.get_command(None, name)
    assert command.help
    if name not in {"manage", "test"}:
        told = CliRunner().invoke(program, [name, "--help"])
        assert told.exit_code == 0
        assert len(told.output) > 100
