"""Tests of lbhook.metadata."""
