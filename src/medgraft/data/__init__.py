"""Anything a user has, turned into an ImageTable and then into pixels."""
