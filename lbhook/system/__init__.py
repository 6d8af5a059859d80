"""This machine, looked at: addresses, sockets, routes' table, what the kernel says has changed.

Others use `Machine` and `Socket` of machine, `Kernel` of netlink. Reads /proc, /sys and netlink;
starts no program and changes nothing.
"""
