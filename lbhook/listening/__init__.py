"""What nginx is told to listen on, what it can have of that, and what it would cost others.

Others use `Configuration` of nginx_config, `Scene` and `judge` of nginx_verdict. Looks at nothing
itself: files and sockets come by judging/surroundings.
"""
