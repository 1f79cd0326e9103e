"""What a saved classifier is used for: labels, a judgement on other data, explanations."""
