"""Files broken on purpose: good ones (`seeds.py`), how they break (`mutations.py`), what comes."""
