"""What handlers for pictures have in common: reading them, and explaining what was seen."""

import base64
import io
from typing import Any

from dragoman.compat.ts.torch_handler.base_handler import BaseHandler
from dragoman.compat.ts.torch_handler.images import ToTensor, pillow, torch
from dragoman.compat.ts.torch_handler.request_envelope.base import content_of
from dragoman.compat.ts.utils.util import PredictionException


class VisionHandler(BaseHandler):
    """A row's ``data`` or ``body`` is a picture's file, the same as base64 text, or a nested list of numbers.

    ``image_processing`` makes a tensor of a Pillow image; a subclass sets its own.
    """

    image_processing: Any = ToTensor()

    def initialize(self, context: Any) -> None:
        super().initialize(context)
        if not context.system_properties.get("limit_max_image_pixels", True):
            pillow.MAX_IMAGE_PIXELS = None

    def preprocess(self, data: Any) -> Any:
        """All pictures as one tensor."""
        return torch.stack([self._tensor(row) for row in data]).to(self.device)

    def _tensor(self, row: Any) -> Any:
        image = content_of(row)
        if isinstance(image, str):
            image = base64.b64decode(image.partition(",")[2] if image.startswith("data:") else image)
        if not isinstance(image, bytes | bytearray | memoryview | list):
            raise PredictionException(
                "the request has no picture: send it as the body, or as the part 'data'", 400
            )
        if isinstance(image, list):
            return torch.FloatTensor(image)
        try:
            picture = pillow.open(io.BytesIO(image))
            picture.load()
        except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
            raise PredictionException("the request has no picture that can be read", 400) from error
        return self.image_processing(picture)
