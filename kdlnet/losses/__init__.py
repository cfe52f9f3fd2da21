"""Losses: assignment of targets to points, and the terms of detection and distillation."""
