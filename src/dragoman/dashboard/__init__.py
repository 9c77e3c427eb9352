"""The page that a person sees in a browser. It knows the server only through its public APIs."""
