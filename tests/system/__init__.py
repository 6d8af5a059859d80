"""Tests of lbhook.system."""
