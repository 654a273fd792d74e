"""Give the wheel the same dependencies as requirements/base.in, so that they are written once."""

from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Dependencies(MetadataHookInterface):
    """Reads base.in; the build tools at its end are not dependencies of the product."""

    def update(self, metadata: dict) -> None:
        lines = (Path(self.root) / "requirements" / "base.in").read_text().splitlines()
        wishes = [line.split("#")[0].strip() for line in lines]
        metadata["dependencies"] = [
            wish for wish in wishes if wish and wish not in {"hatchling", "editables"}
        ]
