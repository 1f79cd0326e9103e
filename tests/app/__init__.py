"""Tests of the page; a package, so that its conftest.py has a name of its own."""
