"""Interactions to user and content profiles."""
