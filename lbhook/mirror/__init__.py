"""A machine's rules and network, made again in a network namespace of its own.

Others use `Replica` of replica, `Listing` of listing. Changes nothing of this machine; what it
makes ends with the process that makes it.
"""
