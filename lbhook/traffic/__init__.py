"""The way of packets through this machine, and its picture."""
