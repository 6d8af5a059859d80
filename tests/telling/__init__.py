"""Tests of lbhook.telling."""
