"""`python -m medgraft.cli`."""

from medgraft.cli import main

main()
