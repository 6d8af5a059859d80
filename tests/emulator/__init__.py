"""Tests of lbhook.emulator."""
