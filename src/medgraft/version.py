"""The version: low in the house, so that whatever writes it down need not import all of it."""

__version__ = "0.1.0"
