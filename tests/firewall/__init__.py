"""Tests of what is asked of the kernel's packet filter."""
