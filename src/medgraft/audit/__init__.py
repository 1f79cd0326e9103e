"""What a model's decision rests on, found out by intervention; `evidence.py` is where to start."""
