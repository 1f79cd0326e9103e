"""Data for asking what wins in another place: held-out kinds, second sources, planted shifts."""
