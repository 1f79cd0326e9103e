"""What `make prove-statistics` simulates: truth that is known, held against what medgraft says."""
