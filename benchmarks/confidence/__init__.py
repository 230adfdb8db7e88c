"""How well the confidence of findings separates true from false."""
