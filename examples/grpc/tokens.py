"""A handler for TorchServe that answers word by word, as language models do."""

import time

from ts.handler_utils.utils import send_intermediate_predict_response


def handle(data, context):
    if data is None:
        return None
    *words, last = bytes(data[0]["data"]).decode().split() or [""]
    for word in words:
        send_intermediate_predict_response([word + " "], context.request_ids, "a word", 200, context)
        time.sleep(0.05)
    return [last]
