"""Tests of lbhook.judging."""
