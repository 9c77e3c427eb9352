"""The stock image classifier, for a network that wants every colour from -1 to 1."""

from ts.torch_handler.image_classifier import ImageClassifier


class Photo(ImageClassifier):
    def preprocess(self, data):
        pictures = super().preprocess(data)
        deviation = pictures.new_tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
        mean = pictures.new_tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
        return (pictures * deviation + mean - 0.498) / 0.502
