"""What providers do wrong, and what becomes of it: a server that fails on purpose, and the table."""
