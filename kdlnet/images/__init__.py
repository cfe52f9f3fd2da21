"""Pixels: files to arrays, arrays to what a network sees."""
