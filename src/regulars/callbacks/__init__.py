"""What providers tell us by themselves: taken at once, kept raw, applied behind, each thing once."""
