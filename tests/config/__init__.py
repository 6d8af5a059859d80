"""Tests of lbhook.config."""
