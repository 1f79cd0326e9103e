"""Whether this installation works: what is installed, what the machine gives, one image tried."""
