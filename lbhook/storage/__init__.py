"""The disk, and the form of lbhook's own files.

Others use `Tree` of files, `held` of lock. Nobody else writes a file: sizes, symbolic links, owners
and the order of syncs are settled here. Runs no program.
"""
