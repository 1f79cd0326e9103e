"""The command line: commands, each of which calls one function of the library.

What an answer looks like stands in `terminal/`.
"""

from medgraft.cli import demo, study, train, data, use, page, serve, adapt, deploy  # noqa: F401, I001  order of --help
from medgraft.cli import runs, weights, machine, doctor  # noqa: F401
from medgraft.cli.program import app, main

__all__ = ["app", "main"]
