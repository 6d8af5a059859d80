"""The commands, one module each: read the options, let something be done, say what it came to.

Nothing is decided here.
"""
