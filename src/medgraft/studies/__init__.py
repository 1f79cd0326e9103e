"""Scenarios compared on one data set, and one of them recommended."""
