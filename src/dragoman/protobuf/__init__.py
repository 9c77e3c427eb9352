"""Protocol buffers without generated code: message classes from compiled definitions, and what the wire is made of.

Knows no message. Needs the package protobuf (the extra ``grpc``), any version from 5 on.
"""
