"""What is wrong between Azure and the listening socket, and what to do.

Others use `examine` of walk. One module for each part of the way; a check is a function that
looks at one thing and yields findings. Changes nothing.
"""
