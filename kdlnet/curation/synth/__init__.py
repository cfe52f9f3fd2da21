"""Made-up surfaces with defects."""
