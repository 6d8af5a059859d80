"""Tests of lbhook.memory."""
