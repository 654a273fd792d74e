"""The contract every provider adapter keeps, and the misbehaving servers it is held against."""
