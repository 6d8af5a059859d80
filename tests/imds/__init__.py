"""Tests of lbhook.imds."""
