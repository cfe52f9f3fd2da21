"""Layers. Each one that can be re-parameterized has ``fuse()``, which returns its replacement."""
