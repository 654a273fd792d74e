"""Bringing files of guests in: read any usual table, clean each value, merge in sets, report all.

Owns the way of a file; what a kind of file means is told by its importer (customers here, others
register themselves). Guesses nothing in silence: what is unclear is rejected with its reason.
"""

from regulars.customers.importing.engine import import_file
from regulars.customers.importing.summary import ImportRefusedError, ImportSummary, Reject

__all__ = ["ImportRefusedError", "ImportSummary", "Reject", "import_file"]
