"""Choosing, ticks and callbacks: each benchmark in a short form."""

from tests.benchmarks.short_forms import NEEDED, benchmark

pytestmark = NEEDED


def test_a_tick_beside_a_bare_question():
    told = benchmark("ticks", "--automations", "200", "--ticks", "20")
    assert "a tick" in told, told


def test_choosing_beside_sql_by_hand():
    told = benchmark(
        "choosing",
        *("--customers", "3000", "--visits", "12000", "--messages", "2000", "--audience", "400"),
        *("--pairs", "1"),
    )
    assert "ratio" in told, told


def test_callbacks_beside_a_bare_endpoint():
    told = benchmark("callbacks", "--requests", "300", "--connections", "8", "--pairs", "1")
    assert "ratio (ours / bare)" in told, told
