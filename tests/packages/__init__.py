"""What is built to be installed: installed, upgraded and taken away again."""
