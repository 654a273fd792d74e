"""Telling other programs what became of messages and runs: endpoints, deliveries, attempts."""
