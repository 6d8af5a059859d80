"""The command line: options, messages, and what a command works with.

Others use `Invocation` of invocation, `Console` of console, the option groups of options and what
factory puts together. Nobody else prints.
"""
