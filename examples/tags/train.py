"""Trains the tag classifier on real texts, and measures it: ``python train.py [FOLDER]`` writes what ``app.py`` serves.

The texts are the English conversations of the package chatterbot-corpus, each utterance with its topic as its tag. The
method is tf-idf over characters and a linear classifier trained by stochastic gradient descent.
"""

import hashlib
import json
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path

import chatterbot_corpus
import joblib
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import precision_recall_fscore_support
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

ARGS = Namespace(
    shuffle=True,
    subset=None,
    min_freq=40,
    lower=True,
    stem=False,
    analyzer="char_wb",
    ngram_max_range=5,
    alpha=1e-5,
    learning_rate=0.5,
    power_t=0.15,
    seed=1,
)
#: Longer ones are listings, no utterances.
LONGEST = 300


def load_texts(min_freq: int) -> tuple[list[str], list[str]]:
    """Every text once, and its tag; tags with fewer than ``min_freq`` texts are ``other``."""
    folder = Path(chatterbot_corpus.__file__).parent / "data" / "english"
    tags: dict[str, str] = {}
    for file in sorted(folder.glob("*.yml")):
        document = yaml.safe_load(file.read_text("utf-8"))
        tag = file.stem.replace("_", "-")
        for conversation in document["conversations"]:
            tags.update({str(text).strip(): tag for text in conversation if 0 < len(str(text)) <= LONGEST})
    count = Counter(tags.values())
    return list(tags), [tag if count[tag] >= min_freq else "other" for tag in tags.values()]


def train(texts: list[str], tags: list[str], args: Namespace):
    """A pipeline from texts to tags."""
    vectorizer = TfidfVectorizer(
        analyzer=args.analyzer, ngram_range=(2, args.ngram_max_range), lowercase=args.lower, min_df=2
    )
    classifier = SGDClassifier(
        loss="log_loss",
        alpha=args.alpha,
        learning_rate="invscaling",
        eta0=args.learning_rate,
        power_t=args.power_t,
        class_weight="balanced",
        shuffle=args.shuffle,
        random_state=args.seed,
    )
    return make_pipeline(vectorizer, classifier).fit(texts, tags)


def measure(texts: list[str], tags: list[str], predicted: list[str]) -> dict:
    """Precision, recall and F1: overall, for each tag, and for kinds of texts."""
    metrics = {"overall": score(tags, predicted, average="weighted"), "class": {}, "slices": {}}
    for tag in sorted(set(tags)):
        metrics["class"][tag] = score(tags, predicted, labels=[tag], average="micro")
    for name, belongs in SLICES.items():
        places = [place for place, text in enumerate(texts) if belongs(text)]
        pairs = [[values[place] for place in places] for values in (tags, predicted)]
        metrics["slices"][name] = score(*pairs, average="micro")
    return metrics


SLICES = {
    "short-texts": lambda text: len(text.split()) < 5,
    "questions": lambda text: text.endswith("?"),
    "about-computers": lambda text: "computer" in text.lower(),
}


def score(
    tags: list[str], predicted: list[str], labels: list[str] | None = None, average: str = "micro"
) -> dict:
    found = precision_recall_fscore_support(tags, predicted, labels=labels, average=average, zero_division=0)
    samples = sum(labels is None or tag in labels for tag in tags)
    return dict(zip(("precision", "recall", "f1"), map(float, found[:3]), strict=True), num_samples=samples)


def main(folder: Path) -> None:
    texts, tags = load_texts(ARGS.min_freq)
    split = train_test_split(texts, tags, test_size=0.15, stratify=tags, random_state=ARGS.seed)
    train_texts, test_texts, train_tags, test_tags = split
    model = train(train_texts, train_tags, ARGS)
    performance = measure(test_texts, test_tags, list(model.predict(test_texts)))
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    (folder / "args.json").write_text(json.dumps(vars(ARGS), indent=2))
    (folder / "performance.json").write_text(json.dumps(performance, indent=2))
    run = json.dumps([vars(ARGS), train_texts, train_tags]).encode()
    (folder / "run_id.txt").write_text(hashlib.sha256(run).hexdigest()[:32])
    print(f"{len(train_texts)} texts to learn from, {len(test_texts)} to be measured with")
    print(json.dumps(performance["overall"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "model")
