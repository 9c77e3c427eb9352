"""KServe's ``ModelServer``: a user's own program is the server, with models that it has made itself."""
