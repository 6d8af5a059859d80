"""Tests of lbhook.planning."""
