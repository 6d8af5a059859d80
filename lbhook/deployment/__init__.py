"""From a plan to a machine: staged, checked, installed, reloaded, verified, or put back.

Others use `Deployment` of deployment, `settled` of recovery, `Report` of report. Never asks the
network, and never leaves a file half written.
"""
