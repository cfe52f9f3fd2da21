"""Detectors: backbone, neck, head, the registry of ready ones, and their fusing."""
