"""Tests of lbhook.listening."""
