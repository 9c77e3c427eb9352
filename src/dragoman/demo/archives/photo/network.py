"""The network whose weights lie beside this file."""

from efficientnet_lite_pytorch import EfficientNet, get_model_params


class Lite0(EfficientNet):
    def __init__(self):
        super().__init__(*get_model_params("efficientnet-lite0", None))
