"""Logs with planted truth, at any size."""
