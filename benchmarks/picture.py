"""One picture of the results: `python -m benchmarks.picture results.json docs/performance.svg`."""

import json
import statistics
import sys
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LEFT, ROW, BAR = 760, 290, 26, 16
INK, SOFT, OURS, OTHER = "#1f2933", "#6b7785", "#0f766e", "#b8c2cc"

Bar = tuple[str, float, str, bool]


def main() -> None:
    results = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(draw(panels(results)))


def panels(results: dict[str, Any]) -> list[tuple[str, list[Bar]]]:
    """Title and bars (name, length, words, whether ours) of each panel there are figures for."""
    found = [
        ("Letters a second, each with a record in PostgreSQL (same sitting)", _peers(results)),
        ("Messages a second, beside a bare loop that does the same work by hand", _contests(results)),
        ("Milliseconds a message, as the run and the ledger behind it grow", _growth(results)),
    ]
    return [(title, bars) for title, bars in found if bars]


def _peers(results: dict[str, Any]) -> list[Bar]:
    rates: dict[str, list[float]] = {}
    for each in results.get("peers", {}).get("rates", []):
        rates.setdefault(each["name"], []).append(each["rate"])
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return [
        (name, rate, f"{rate:,.0f}", name.startswith("our"))
        for name, rate in sorted(middle.items(), key=lambda item: item[1])
    ]


_CONTESTS = {
    "sending_1": "text messages, 1 process",
    "sending_2": "text messages, 2 processes",
    "smtp_1": "e-mail by SMTP, 1 process",
    "smtp_2": "e-mail by SMTP, 2 processes",
}


def _contests(results: dict[str, Any]) -> list[Bar]:
    bars: list[Bar] = []
    for key, words in _CONTESTS.items():
        trials = results.get(key)
        if not trials:
            continue
        trials = trials["trials"] if isinstance(trials, dict) else trials
        rate = {
            who: statistics.median(each["rate"] for each in trials if each["who"] == who)
            for who in ("ideal", "ours")
        }
        bars.append((f"bare loop: {words}", rate["ideal"], f"{rate['ideal']:,.0f}", False))
        ratio = rate["ideal"] / rate["ours"]
        bars.append((f"ours: {words}", rate["ours"], f"{rate['ours']:,.0f} (1 : {ratio:.2f})", True))
    return bars


def _growth(results: dict[str, Any]) -> list[Bar]:
    bars: list[Bar] = []
    for each in results.get("growth", []):
        behind = f", {each['ledger']:,} before" if each["ledger"] else ""
        value = each["wall"] * 1000 / each["messages"]
        bars.append((f"{each['messages']:,} messages{behind}", value, f"{value:.2f} ms", True))
    return bars


def draw(found: list[tuple[str, list[Bar]]]) -> str:
    parts, y = [], 20
    for title, bars in found:
        y += 18
        parts.append(_text(16, y, title, INK, weight="600", size=14))
        y += 12
        longest = max(length for _, length, _, _ in bars)
        for bar in bars:
            parts.append(_bar(bar, y, longest))
            y += ROW
        y += 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
        'font-family="system-ui, sans-serif" role="img" aria-label="Results of the benchmarks">\n'
        f'<rect width="{WIDTH}" height="{y}" rx="8" fill="#ffffff"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _bar(bar: Bar, y: int, longest: float) -> str:
    name, length, words, ours = bar
    width = max(2.0, length / longest * (WIDTH - LEFT - 150))
    fill = OURS if ours else OTHER
    middle = y + BAR - 3
    return "\n".join(
        [
            _text(LEFT - 8, middle, name, INK if ours else SOFT, anchor="end"),
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3" fill="{fill}"/>',
            _text(int(LEFT + width + 8), middle, words, INK),
        ]
    )


def _text(
    x: int, y: int, words: str, fill: str, *, anchor: str = "start", weight: str = "400", size=12
) -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{fill}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


if __name__ == "__main__":
    main()
