"""Tests of lbhook.storage."""
