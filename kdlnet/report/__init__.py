"""Pictures and plots for people: drawn boxes, curves, contact sheets."""
