"""Asking the Instance Metadata Service, and which answer is in force.

Others use `Fetcher` and `Fetched` of fetching, `Answer` and `LastGood` of last_good. The only
place that speaks HTTP. Never takes an error for an empty answer, and never touches a target's
file.
"""
