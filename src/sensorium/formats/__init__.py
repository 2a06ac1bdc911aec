"""Formats: other people's files, read safely, and files for other people's tools."""
