"""The pictures of docs/concepts/, drawn by the package's own functions from made radiographs."""
