"""Pretrained networks, the fast forward pass, and the cache of what it gave."""
