"""Salience: batch attention analytics for social-media marketing on Apache Spark."""

__version__ = "0.1.0"
