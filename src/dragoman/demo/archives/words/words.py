"""Counts lines and words. A handler is any module with a function that is called once with nothing, then with rows."""


def handle(data, context):
    if data is None:  # the model loads
        return None
    return [count(row.get("data") or row.get("body")) for row in data]


def count(text):
    return {"lines": len(text.splitlines()), "words": len(text.split())}
