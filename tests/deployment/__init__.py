"""Tests of lbhook.deployment."""
