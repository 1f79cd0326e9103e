"""The bytes of an image file to pixels, format by format."""
