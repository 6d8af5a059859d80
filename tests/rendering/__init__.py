"""Tests of lbhook.rendering."""
