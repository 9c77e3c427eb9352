"""Starts when a file is there, and says in another how it ends."""

import time

import dragoman


@dragoman.service
class Slow:
    def startup(self, path):
        self.path = path
        while not (path / "go").exists():
            time.sleep(0.01)

    def shutdown(self):
        (self.path / "shut").write_text("down")

    def predict(self, number: int) -> int:
        return number + 1
