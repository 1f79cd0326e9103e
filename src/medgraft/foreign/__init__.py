"""A model that is not medgraft's, wrapped so that it can be audited as one of ours."""
