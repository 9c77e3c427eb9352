"""Jobs over HTTP: requests in the words of any protocol, answered later."""
