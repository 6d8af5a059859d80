"""lbhook brought onto a machine."""
