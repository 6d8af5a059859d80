"""Tests of lbhook.traffic."""
