"""What requests and answers are in KServe's API, and how they are written on the wire."""
