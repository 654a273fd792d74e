"""The second table of contents of `runs`: what guests may ask for, and edges call (see `runs.engine`)."""

from regulars.runs.erasing import Erased, erase
from regulars.runs.exporting import export
from regulars.runs.merging import Merged, MergeRefusedError, merge
from regulars.runs.unsubscribing import Reader, allowed_channels, choose, reader_of, stop

__all__ = [
    "Erased",
    "MergeRefusedError",
    "Merged",
    "Reader",
    "allowed_channels",
    "choose",
    "erase",
    "export",
    "merge",
    "reader_of",
    "stop",
]
