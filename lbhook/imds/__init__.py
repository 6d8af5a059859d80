"""Asking the metadata service, and the answer in force."""
