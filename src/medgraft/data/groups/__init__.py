"""Which images belong together: columns, folders and names that repeat as patients do."""
