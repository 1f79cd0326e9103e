"""A saved classifier behind HTTP: one process, bounded in everything, nothing written."""
