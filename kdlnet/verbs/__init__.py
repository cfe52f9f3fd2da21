"""One file a verb of the command line, named like it."""
