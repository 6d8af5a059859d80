"""One run, from its beginning to what it leaves."""
