"""Hundreds of kill -9 at random moments, and one at every named point: the table of docs/crashes.md.

    python -m benchmarks.soak [--kills 500] [--worlds 3] [--seed 1]
    python -m benchmarks.soak --points [--workers 1 3]

Needs a PostgreSQL whose databases may be made and dropped (DATABASE_URL).
"""

import argparse
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "regulars.settings")

from tests.crashes import battle, kills

KILLS_A_WORLD = 25
GUESTS = 220

_HEAD = ("what", "workers", "kills", "messages", "twice", "lost", "unknown", "arrived", "longest s")


def main():
    options = _options()
    import django

    django.setup()
    campaigns = _points(options) if options.points else _random(options)
    print("| " + " | ".join(_HEAD) + " |\n|" + " --- |" * len(_HEAD), flush=True)
    found = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.worlds) as pool:
        for name, campaign in pool.map(lambda one: _fight(Path(folder), *one), campaigns):
            found.append(campaign)
            _print(name, [campaign])
    _print("all", found)


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--worlds", type=int, default=3, help="worlds at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", action="store_true", help="each named point in a world of its own")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 3])
    return parser.parse_args()


def _random(options):
    """(name, sizes, options of the world, what happens) for as many worlds as the kills need."""
    for number in range(-(-options.kills // KILLS_A_WORLD)):
        count = min(KILLS_A_WORLD, options.kills - number * KILLS_A_WORLD)
        seed = options.seed * 1000 + number
        companions = 2 * (number % 2)
        yield (
            f"random_{seed}",
            [GUESTS] * count,
            {},
            lambda world, count=count, seed=seed, companions=companions: kills.at_random_moments(
                world, count, seed, companions
            ),
        )


def _points(options):
    for workers in options.workers:
        for point in kills.WORKER_POINTS:
            yield _point(point, workers, {"slice_size": 40}, kills.at_named_points)
        for point in kills.FALLBACK_POINTS:
            yield _point(point, workers, {}, kills.at_points_of_a_fallback)


def _point(point, workers, options, strike):
    name = f"{point}".replace(".", "_") + f"_{workers}"
    return name, kills.sizes_for([point], workers), options, lambda world: strike(world, [point], workers)


def _fight(folder, name, sizes, options, happen):
    with battle.world(name, folder / name, sizes, **options) as world:
        return name, happen(world)


def _print(name, campaigns):
    verdicts = [campaign.verdict for campaign in campaigns]
    for campaign in campaigns:
        missed = [point for point, struck in campaign.struck.items() if struck is None]
        assert not missed, f"never reached: {missed}"
        assert not campaign.violations, campaign.violations
        assert campaign.verdict.denied == [] == campaign.verdict.invented
    row = (
        name,
        "/".join(sorted({str(campaign.workers) for campaign in campaigns})),
        sum(campaign.kills for campaign in campaigns),
        sum(verdict.planned for verdict in verdicts),
        sum(len(verdict.duplicates) for verdict in verdicts),
        sum(len(verdict.lost) + verdict.due - verdict.planned for verdict in verdicts),
        sum(verdict.unknown for verdict in verdicts),
        sum(verdict.in_doubt for verdict in verdicts),
        f"{max(campaign.longest for campaign in campaigns):.1f}",
    )
    print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
