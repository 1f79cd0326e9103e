"""The words: sentences and how numbers are written."""
