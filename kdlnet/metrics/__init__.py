"""Detection quality in numpy: average precision, matching, curves, confusion."""
