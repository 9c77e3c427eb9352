"""Classifies pictures: the most likely labels and how likely they are."""

from typing import Any

from dragoman.compat.ts.torch_handler.images import CenterCrop, Normalize, Resize, Rgb, Steps, ToTensor, torch
from dragoman.compat.ts.torch_handler.vision_handler import VisionHandler
from dragoman.compat.ts.utils.util import map_class_to_label


class ImageClassifier(VisionHandler):
    """For models trained on ImageNet's way of cropping: ``{label: probability}`` of the ``topk`` best."""

    topk = 5
    image_processing = Steps([Rgb(), Resize(256), CenterCrop(224), ToTensor(), Normalize()])

    def set_max_result_classes(self, topk: int) -> None:
        self.topk = topk

    def get_max_result_classes(self) -> int:
        return self.topk

    def postprocess(self, data: Any) -> Any:
        """The best classes of each row, the likeliest first."""
        likely = torch.softmax(data, dim=1)
        values, classes = torch.topk(likely, min(self.topk, likely.shape[1]), dim=1)
        return map_class_to_label(values.tolist(), self.mapping, classes.tolist())
