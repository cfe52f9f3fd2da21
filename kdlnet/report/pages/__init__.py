"""Pages that are one file each: what a run found, for people who never saw kdlnet."""
