"""Rows of files, and the tensors that a model's signature makes of them. Knows no server and no terminal."""
