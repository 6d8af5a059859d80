"""This machine, looked at."""
