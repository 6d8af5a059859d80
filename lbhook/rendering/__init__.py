"""An answer and a template become text."""
