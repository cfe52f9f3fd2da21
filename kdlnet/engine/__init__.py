"""What the verbs do: train, validate, fuse with proof. No terminal in here, only events."""
