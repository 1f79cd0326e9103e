"""The command line: commands, each of which calls one function of the library.

What an answer looks like stands in `terminal/`.
"""

from medgraft.cli import compare, data, use, serve, adapt, deploy, runs, weights, machine, doctor  # noqa: F401, I001  order of --help
from medgraft.cli.program import app, main

__all__ = ["app", "main"]
