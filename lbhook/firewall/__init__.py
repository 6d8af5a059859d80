"""What the kernel's packet filter makes of packets: a copy of it is asked.

Others use `Firewall` of kernel, and `Door`, `Verdict` and `Counter` of verdict. Makes network
namespaces of its own, which end with the process that asks; changes nothing of this machine.
"""
