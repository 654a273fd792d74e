"""How the PostgreSQL clients are told where the database is."""

from psycopg.conninfo import conninfo_to_dict

from regulars.cli.backups import address

URL = "postgresql://owner:secret@db.example.com:6432/guests?sslmode=verify-full&sslrootcert=/etc/ca.pem"


def test_a_client_goes_the_way_that_the_address_describes():
    assert conninfo_to_dict(address(URL, "guests")) == {
        "host": "db.example.com",
        "port": "6432",
        "user": "owner",
        "dbname": "guests",
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
    }


def test_no_command_line_bears_the_password():
    for url in (URL, "postgresql:///guests?host=/run/db&user=owner&password=secret"):
        assert "secret" not in address(url, "guests")
        assert "owner" in address(url, "guests")
