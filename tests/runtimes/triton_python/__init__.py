"""Models written for Triton's Python backend, unchanged, on a real server."""
