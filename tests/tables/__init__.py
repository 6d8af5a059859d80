"""Tests of the way from one table of the firewall to another."""
