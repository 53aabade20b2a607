"""Guests: other frameworks, each in a file of its own."""
