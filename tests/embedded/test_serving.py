"""The server that comes along, on a good day."""

import os
import stat
import threading
from pathlib import Path

import psycopg
import pytest

from regulars.embedded import CouldNotStartError, ensure, status, stop
from regulars.embedded.home import Home

from .support import ask, nothing_left, within


def test_a_new_home_serves_under_an_ordinary_role(new_home):
    said = []
    url = ensure(new_home, announce=said.append)
    assert "Making a new database" in said[0]
    assert ask(url, "SELECT current_user || '@' || current_database()") == "regulars@regulars"
    assert ask(url, "SELECT rolsuper::text FROM pg_roles WHERE rolname = 'regulars'") == "false"
    assert ask(url, "SHOW server_encoding") == "UTF8"
    assert ask(url, "SHOW data_checksums") == "on"
    assert ask(url, "SHOW dynamic_shared_memory_type") == "mmap"
    assert ask(url, "SHOW listen_addresses") == ""
    assert ask(url, "SELECT upper('ñandú')") == "ÑANDÚ"
    ask(url, "CREATE DATABASE another")


def test_asking_again_says_nothing_and_gives_the_same(home):
    first = ensure(home)
    said = []
    assert ensure(home, announce=said.append) == first
    assert said == []
    assert status(home).url == first


def test_an_idle_home_is_not_woken_by_a_question(new_home):
    assert not status(new_home).running
    assert not new_home.exists()


def test_nobody_else_may_look_inside(new_home):
    ensure(new_home)
    found = status(new_home)
    assert stat.S_IMODE(new_home.stat().st_mode) & 0o007 == 0
    assert stat.S_IMODE((new_home / "postgres").stat().st_mode) & 0o007 == 0
    assert stat.S_IMODE(found.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(Home(new_home).server_log.stat().st_mode) == 0o600
    sockets = Path(psycopg.conninfo.conninfo_to_dict(found.url)["host"])
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert sockets.stat().st_uid == found.data.stat().st_uid != (0 if os.geteuid() == 0 else -1)


def test_a_failed_statement_leaves_no_guest_in_the_log(home):
    url = ensure(home)
    with pytest.raises(psycopg.DataError):
        ask(url, "SELECT 'marta@example.com'::int")
    ask(url, "CREATE TABLE guests (email text PRIMARY KEY)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        ask(url, "INSERT INTO guests VALUES ('marta@example.com'), ('marta@example.com')")
    log = Home(home).server_log.read_text()
    assert "ready to accept connections" in log
    assert "marta" not in log


@pytest.mark.parametrize("name", ["a b,c '%' &;() ñ", "/".join(["long" * 15] * 4)])
def test_any_path_will_do(folder, name):
    home = folder / name / "var"
    try:
        assert ask(ensure(home), "SELECT 1") == 1
    finally:
        stop(home)


def test_a_path_that_postgresql_cannot_live_in_is_refused_at_once(folder):
    with pytest.raises(CouldNotStartError, match="Set REGULARS_HOME to another"):
        ensure(folder / 'the "home"')


def test_a_home_behind_a_link_is_the_same_home(folder, home):
    url = ensure(home)
    (folder / "link").symlink_to(home)
    assert ensure(folder / "link") == url


def test_the_port_of_the_environment_is_ignored(home, monkeypatch):
    monkeypatch.setenv("PGPORT", "6000")
    assert ask(ensure(home), "SELECT 1") == 1


def test_two_commands_at_once_share_one_server(new_home, command):
    first, second = command(), command()
    assert first.url() == second.url()
    assert ask(ensure(new_home), "SELECT count(*) FROM pg_database WHERE datname = 'regulars'") == 1


def test_threads_of_one_process_share_one_server(home):
    urls = []
    threads = [threading.Thread(target=lambda: urls.append(ensure(home))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 4
    assert len(set(urls)) == 1


@pytest.mark.slow
def test_the_server_stays_for_the_last_command_and_then_goes(home, command):
    starter, other = command(), command()
    url = other.url()
    starter.url()
    starter.end()
    with pytest.raises(AssertionError):  # longer than it lingers
        within(3, lambda: not status(home).running)
    assert ask(url, "SELECT 1") == 1
    other.end()
    within(10, lambda: nothing_left(home))
    assert not Path(psycopg.conninfo.conninfo_to_dict(url)["host"]).exists()


def test_a_log_that_grew_too_long_is_cut(home):
    ensure(home)
    place = Home(home)
    with place.server_log.open("a") as log:
        log.truncate(6 * 1024 * 1024)
    within(5, lambda: place.server_log.stat().st_size < 1024 * 1024)
    assert place.server_log.with_suffix(".log.1").exists()
