"""From the firewall's table that the kernel has to the one in a file: by what differs.

Others use `TableLoader` of loading. Touches no other table, and never changes the file.
"""
