"""Finds things in pictures: where each is, what it is, and how sure the model is."""

from typing import Any

from dragoman.compat.ts.torch_handler.images import Rgb, Steps, ToTensor, torch
from dragoman.compat.ts.torch_handler.vision_handler import VisionHandler


class ObjectDetector(VisionHandler):
    """For models that take a list of pictures, of any size, and answer each with boxes, labels and scores."""

    threshold = 0.5
    image_processing = Steps([Rgb(), ToTensor()])

    def preprocess(self, data: Any) -> Any:
        """A list of tensors: the pictures may differ in size."""
        return [self._tensor(row).to(self.device) for row in data]

    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode():
            return self.model(list(data), *args, **kwargs)

    def postprocess(self, data: Any) -> Any:
        """For each picture, ``{label: [left, top, right, bottom], "score": …}`` of what is likely enough."""
        return [self._likely(found) for found in data]

    def _likely(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        rows = zip(found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True)
        return [
            {self._label(label): box, "score": score} for box, label, score in rows if score >= self.threshold
        ]

    def _label(self, number: int) -> str:
        return str(number) if self.mapping is None else self.mapping[str(number)]
