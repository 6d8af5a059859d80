"""What nginx is told to listen on, what it can have of that, and what it would cost others."""
