"""The name that early archives of image classifiers have for their handler."""

from dragoman.compat.ts.torch_handler.image_classifier import ImageClassifier


class DenseNetHandler(ImageClassifier):
    """The same."""
