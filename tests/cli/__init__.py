"""Tests of lbhook.cli."""
