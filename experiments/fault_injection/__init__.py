"""Faults put into a process that runs a command, and what must be true after it."""
