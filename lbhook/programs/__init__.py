"""The programs that take a file, and the host they run on."""
