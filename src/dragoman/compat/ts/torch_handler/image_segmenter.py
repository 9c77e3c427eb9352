"""Says for every pixel of a picture what it belongs to."""

from typing import Any

from dragoman.compat.ts.torch_handler.images import CenterCrop, Normalize, Resize, Rgb, Steps, ToTensor, torch
from dragoman.compat.ts.torch_handler.vision_handler import VisionHandler


class ImageSegmenter(VisionHandler):
    """For models that answer with scores of classes × height × width, alone or under ``out``."""

    image_processing = Steps([Rgb(), Resize(256), CenterCrop(224), ToTensor(), Normalize()])

    def postprocess(self, data: Any) -> Any:
        """For each picture, height × width pairs of the likeliest class and its probability."""
        scores = data["out"] if isinstance(data, dict) else data
        values, classes = torch.softmax(scores, dim=1).max(dim=1)
        return torch.stack((classes.to(values.dtype), values), dim=3).tolist()
