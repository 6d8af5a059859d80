"""Tests of lbhook.runs."""
