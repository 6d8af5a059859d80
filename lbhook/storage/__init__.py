"""The disk, and what is remembered on it."""
