"""Decoding in threads, and in processes that can be killed."""
