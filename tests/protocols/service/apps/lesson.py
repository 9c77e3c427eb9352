"""The service of the lesson "Made With ML: APIs", with its worked values."""

from argparse import Namespace

from pydantic import BaseModel, Field, field_validator

import dragoman


class Text(BaseModel):
    text: str = Field(min_length=1)


class PredictPayload(BaseModel):
    texts: list[Text]

    @field_validator("texts")
    @classmethod
    def list_must_not_be_empty(cls, value):
        if not len(value):
            raise ValueError("List of texts to classify cannot be empty.")
        return value

    model_config = {
        "json_schema_extra": {
            "example": {
                "texts": [
                    {"text": "Transfer learning with transformers for text classification."},
                    {"text": "Generative adversarial networks in both PyTorch and TensorFlow."},
                ]
            }
        }
    }


@dragoman.service(
    title="TagIfAI - Made With ML", description="Classify machine learning projects.", version="0.1"
)
class TagIfAI:
    def startup(self):
        self.performance = {
            "overall": {
                "precision": 0.8941372402587212,
                "recall": 0.8333333333333334,
                "f1": 0.8491658224308651,
                "num_samples": 144,
            },
            "class": {"computer-vision": {"f1": 0.9}},
        }
        self.args = Namespace(
            shuffle=True,
            subset=None,
            min_freq=75,
            lower=True,
            stem=False,
            analyzer="char_wb",
            ngram_max_range=8,
            alpha=0.0001,
            learning_rate=0.14688087680118794,
            power_t=0.158985493618746,
        )
        self.run_id = "7d6b1c39d4a34c4b"

    @dragoman.endpoint(tags=["Prediction"])
    def predict(self, payload: PredictPayload) -> dict:
        """Predict tags for a list of texts."""
        texts = [item.text for item in payload.texts]
        return {"predictions": [{"input_text": text, "predicted_tag": tag_of(text)} for text in texts]}


def tag_of(text):
    return "computer-vision" if "image" in text else "natural-language-processing"
