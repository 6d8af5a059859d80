"""Tests of lbhook.programs."""
