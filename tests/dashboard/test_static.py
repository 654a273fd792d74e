"""Files of others are unchanged, and the pages stay light."""

import gzip
import hashlib
import json
from pathlib import Path

import regulars.dashboard

STATIC = Path(regulars.dashboard.__file__).parent / "static"


def _weight(path):
    return len(gzip.compress(path.read_bytes()))


def test_files_of_others_are_the_ones_of_the_manifest():
    manifest = json.loads((STATIC / "vendor/manifest.json").read_text())
    present = {path.name for path in (STATIC / "vendor").iterdir()} - {"manifest.json", "README.md"}
    assert present == set(manifest)
    for name, entry in manifest.items():
        digest = hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest()
        assert digest == entry["sha256"], name


def test_the_style_sheets_weigh_less_than_15_kilobytes():
    assert sum(_weight(path) for path in STATIC.rglob("*.css")) < 15_000


def test_the_scripts_weigh_less_than_25_kilobytes():
    assert sum(_weight(path) for path in STATIC.rglob("*.js")) < 25_000
