"""What is in the data: balance, groups, duplicates, leaks."""
