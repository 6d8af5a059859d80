"""Tests of lbhook.installation."""
