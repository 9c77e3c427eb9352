"""Runs typed services: classes and functions whose hints say what they take. Each file here knows one side of that."""
