"""Folders that commands left: found, read, compared, logged elsewhere, cleaned up."""
