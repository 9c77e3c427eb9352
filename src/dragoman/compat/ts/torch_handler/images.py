"""Pictures for models trained on ImageNet, with Pillow and PyTorch alone. Knows no handler.

Each step is a callable like torchvision's of the same name, so that ``Steps([...])`` and a
``torchvision.transforms.Compose`` are interchangeable as a handler's ``image_processing``.
"""

from collections.abc import Callable, Sequence
from typing import Any

from dragoman.compat.need import need

torch = need("torch", "an image handler")
numpy = need("numpy", "an image handler")
pillow = need("PIL.Image", "an image handler", "Pillow")

#: Mean and deviation of ImageNet's colours (red, green, blue), of values from 0 to 1.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class Steps:
    """One step after the other."""

    def __init__(self, steps: Sequence[Callable[[Any], Any]]) -> None:
        self.steps = list(steps)

    def __call__(self, image: Any) -> Any:
        for step in self.steps:
            image = step(image)
        return image


class Rgb:
    """Any picture in three colours: grey, palettes, CMYK and transparency too."""

    def __call__(self, image: Any) -> Any:
        return image if image.mode == "RGB" else image.convert("RGB")


class Resize:
    """The shorter side becomes ``size`` pixels, the longer keeps the proportion; bilinear, without aliasing."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Any) -> Any:
        width, height = image.size
        short, long = min(width, height), max(width, height)
        if short == self.size:
            return image
        longer = int(self.size * long / short)
        size = (self.size, longer) if width <= height else (longer, self.size)
        return image.resize(size, pillow.Resampling.BILINEAR)


class CenterCrop:
    """The middle ``size`` × ``size`` pixels; a smaller picture gets a black border."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Any) -> Any:
        width, height = image.size
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))


class ToTensor:
    """A tensor of colours × height × width, FP32 from 0 to 1."""

    def __call__(self, image: Any) -> Any:
        pixels = numpy.asarray(image)
        if pixels.dtype == bool:
            pixels = pixels.astype("uint8") * 255
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(torch.float32).div(255)


class Normalize:
    """Subtract the colours' mean, divide by their deviation."""

    def __init__(self, mean: Sequence[float] = MEAN, deviation: Sequence[float] = DEVIATION) -> None:
        self._mean = torch.tensor(mean).reshape(-1, 1, 1)
        self._deviation = torch.tensor(deviation).reshape(-1, 1, 1)

    def __call__(self, tensor: Any) -> Any:
        return (tensor - self._mean) / self._deviation
