"""Intervals and resampling, importable by every stage."""
