"""E-mail, one by one and in batches: each benchmark in a short form."""

from tests.benchmarks.short_forms import NEEDED, benchmark

pytestmark = NEEDED


def test_mail_beside_the_ideal_loop():
    told = benchmark("smtp", "--messages", "200", "--pairs", "1", "--workers", "1", "--sinks", "ours")
    assert told.count("{'sent': 200}") == 2, told


def test_mail_in_batches_beside_the_ideal_loop():
    told = benchmark("batches", "--messages", "300", "--pairs", "1", "--workers", "1")
    assert told.count("{'sent': 300}") == 2, told
