"""Clients that were written for the real metadata service, run against the emulator."""
