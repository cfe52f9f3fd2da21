"""kdlnet: train, distill, fuse and run small defect detectors."""

__version__ = "0.1.0"
