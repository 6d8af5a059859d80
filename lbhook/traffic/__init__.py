"""The way of packets through this machine, and the picture of it.

Others use `seen` and `Picture` of paths, `to_text` of diagram, `to_html` of html. Looks at sockets,
routes and the kernel's rules of all tables; changes nothing.
"""
