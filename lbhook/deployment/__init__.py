"""From a plan to a machine: staged, checked, installed, reloaded, verified, or put back.

Others use `Transaction` of transaction, `Recovery` of recovery, `Report` of report. Never asks the
network, and never leaves a file half written.
"""
