"""Settings: TOML files read, merged and checked, all problems in one report.

Others use `Settings` and `load` of settings, `Target` of targets, `kind_of` and the table of
shipped. Knows what a key means and what a shipped target is; never looks at what a program holds,
and never asks the network.
"""
