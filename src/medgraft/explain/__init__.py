"""What a classifier looks at."""
