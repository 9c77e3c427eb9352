"""Where handlers look for the functions that send a part of an answer."""
