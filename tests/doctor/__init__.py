"""Tests of lbhook.doctor."""
