"""Answers kept for requests that come again: what makes two requests equal, and where their answer lies.

Knows tensors, and nothing of models, wires or schedulers.
"""
