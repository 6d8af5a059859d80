"""What nginx is told to listen on, what it can have of that, and what it would cost others; where
haproxy and sshd are configured to listen.

Others use `Configuration` of nginx_config, `Scene` and `judge` of nginx_verdict. Looks at nothing
itself: files come by `Files` of files, sockets by judging/surroundings.
"""
