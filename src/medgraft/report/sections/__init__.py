"""The parts that pages are made of, each beside its template."""
