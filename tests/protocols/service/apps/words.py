import dragoman


@dragoman.service
class Words:
    """How many words a text has."""

    def predict(self, text: str, separator: str = " ") -> int:
        if not text:
            raise ValueError("an empty text")
        return len(text.split(separator))
