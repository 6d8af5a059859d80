"""lbhook itself, brought onto a machine and taken away, where no package manager does it.

Others use `Installation` of installer and the shells' scripts of completion.
"""
