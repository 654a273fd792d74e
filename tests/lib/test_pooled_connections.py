"""Django's pooled connections after a restart of the server."""

import threading

import pytest
from django.db import connection

CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
"""
KEPT = 6


@pytest.mark.django_db(transaction=True)
def test_many_connections_that_died_at_once_keep_nobody_waiting():
    """One by one, with the pool's growing pauses, they would be found dead for longer than it waits."""
    together = threading.Barrier(KEPT)

    def use():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        together.wait(10)
        connection.close()

    threads = [threading.Thread(target=use) for _ in range(KEPT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    with connection.cursor() as cursor:
        cursor.execute(CUT)
        assert cursor.fetchone()[0] >= KEPT - 1
    connection.close()
    # The one that did it is given out last.
    threads = [threading.Thread(target=use) for _ in range(KEPT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not together.broken
