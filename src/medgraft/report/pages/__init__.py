"""The pages, one file each, with their templates."""
