"""A saved classifier as a graph that other programs run, without torch and without medgraft."""
