"""Which listeners nginx and haproxy can have on this machine, judged before a file is rendered.

Others use `Listeners` of listeners, `found` of failed_start. Nothing is changed here.
"""
