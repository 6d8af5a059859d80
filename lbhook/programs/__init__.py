"""Neighbour programs: what is peculiar to nginx, haproxy, firewalld, nftables and systemd, and
the host where they run.

Others use `Host` of host, which hands out the rest. One module for each program: how a file is
checked, taken, and shown to be in force. Decides nothing about when.
"""
