"""A metadata service on loopback that behaves like Azure's, and misbehaves on request.

Others use `Emulator` of server. A playbook is a script of answers and faults. Never part of a run
on a real machine.
"""
