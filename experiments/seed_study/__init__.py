"""What the study that medgraft grew from concluded, held against what is measured here."""
