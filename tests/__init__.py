"""The specification of lbhook, a sentence a test."""
