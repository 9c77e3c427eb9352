"""The tag classifier as a typed service: ``dragoman serve app.py`` after ``python train.py``."""

import json
import os
from pathlib import Path

import joblib
from pydantic import BaseModel, Field, field_validator

import dragoman


class Text(BaseModel):
    text: str = Field(min_length=1)


class PredictPayload(BaseModel):
    texts: list[Text]

    @field_validator("texts")
    @classmethod
    def list_must_not_be_empty(cls, value: list[Text]) -> list[Text]:
        if not value:
            raise ValueError("List of texts to classify cannot be empty.")
        return value

    model_config = {
        "json_schema_extra": {
            "example": {
                "texts": [
                    {"text": "Can you write a function that sorts a list?"},
                    {"text": "Which planet is the biggest?"},
                ]
            }
        }
    }


class Prediction(BaseModel):
    input_text: str
    predicted_tag: str


class Predictions(BaseModel):
    predictions: list[Prediction]


@dragoman.service(title="TagIfAI", description="Tell what a text is about.", version="0.1")
class Tags:
    def startup(self, path: Path) -> None:
        folder = Path(os.environ.get("TAGS_MODEL", path / "model"))
        self.model = joblib.load(folder / "model.joblib")
        self.args = json.loads((folder / "args.json").read_text())
        self.performance = json.loads((folder / "performance.json").read_text())
        self.run_id = (folder / "run_id.txt").read_text()

    @dragoman.endpoint(tags=["Prediction"])
    def predict(self, payload: PredictPayload) -> Predictions:
        """Predict tags for a list of texts."""
        texts = [item.text for item in payload.texts]
        tags = self.model.predict(texts)
        return Predictions(
            predictions=[
                Prediction(input_text=text, predicted_tag=str(tag))
                for text, tag in zip(texts, tags, strict=True)
            ]
        )
