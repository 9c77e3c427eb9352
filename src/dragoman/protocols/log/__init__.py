"""What was predicted, what of it was true, and what has moved."""
