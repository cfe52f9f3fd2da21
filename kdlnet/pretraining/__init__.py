"""Learning from images without labels: what a frozen network sees in them."""
