"""Sending, its rate, and a booking that is confirmed: each benchmark in a short form."""

import json

from tests.benchmarks.short_forms import NEEDED, benchmark

pytestmark = NEEDED


def test_a_run_beside_the_ideal_loop(tmp_path):
    results = tmp_path / "results.json"
    told = benchmark(
        "sending", "--messages", "300", "--pairs", "1", "--workers", "1", "--results", str(results)
    )
    assert told.count("{'sent': 300}") == 2, told
    assert json.loads(results.read_text())


def test_the_rate_of_an_account():
    told = benchmark("rate", "--rate", "20", "--seconds", "2", "--workers", "2", "--only", "steady")
    assert "| steady" in told, told


def test_a_booking_is_confirmed():
    told = benchmark("confirmation", "--bookings", "2", "--guests", "500")
    assert "from the answer to the hand-over" in told, told
