"""Folders of images: what lies in them, how they are read, which files are masks."""
