"""Tables that list images: files of any kind, and what their columns mean."""
