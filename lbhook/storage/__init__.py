"""The disk, and what lbhook remembers on it.

Others use `Tree` of files, `State` of state, `Journal` of journal, `held` of lock. Nobody else
writes a file: sizes, symbolic links, owners and the order of syncs are settled here. Runs no
program.
"""
