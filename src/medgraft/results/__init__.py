"""What a finished study, audit or check of the data holds, for those who show it."""
