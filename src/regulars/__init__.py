"""Regulars turns guests into regulars: the marketing automation that restaurants run themselves."""

__version__ = "0.1.0"
