"""Descriptive daily metrics."""
