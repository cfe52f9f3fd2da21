"""Only what three modules share."""
