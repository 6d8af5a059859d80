"""What Azure says about this VM, as types."""
