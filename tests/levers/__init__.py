"""Tests of lbhook.levers."""
