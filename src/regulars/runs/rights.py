"""The second table of contents of `runs`: what guests may ask for, and edges call (see `runs.engine`)."""

from regulars.runs.unsubscribing import Reader, allowed_channels, choose, reader_of, stop

__all__ = ["Reader", "allowed_channels", "choose", "reader_of", "stop"]
