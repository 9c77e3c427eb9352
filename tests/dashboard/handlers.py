"""A handler for TorchServe: the page sends it bodies as they are, and shows what comes back."""

import json


def handle(data, context):
    if data is None:
        return None
    body = data[0].get("body") or data[0].get("data")
    if isinstance(body, dict):  # asked as tensors, or with JSON
        words = body.get("inputs", [{"data": [json.dumps(body)]}])[0]["data"][0]
        body = words.encode() if isinstance(words, str) else words
    text = bytes(body).decode("utf-8", "replace") if not isinstance(body, str) else body
    context.set_response_header(0, "Server-Timing", 'queue;dur=0.4, execute;desc="the model";dur=1.6')
    if text == "markup":
        context.set_response_content_type(0, "text/html")
        return ['<img src=x onerror="window.hacked=1">']
    return [{"long": len(text) / 100, "short": 1 - len(text) / 100}]
