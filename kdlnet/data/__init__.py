"""Datasets: found by name, read, converted, made. Import the module you need."""
