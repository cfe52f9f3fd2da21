"""Training: steps, the loop around them, and what a run leaves behind."""
