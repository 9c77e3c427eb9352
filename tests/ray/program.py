"""A program for KServe 0.13 whose models are deployments of Ray Serve, as its users write it."""

import argparse

from kserve import Model, ModelServer, model_server
from ray import serve


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.05})
class Doubling(Model):
    def __init__(self):
        super().__init__("doubling")
        self.ready = True

    def predict(self, payload, headers=None):
        return {
            "predictions": [2 * each for each in payload["instances"]],
            "who": (headers or {}).get("x-who"),
        }

    async def explain(self, payload, headers=None):
        return {"explanations": "twice"}


if __name__ == "__main__":
    argparse.ArgumentParser(parents=[model_server.parser]).parse_args()
    ModelServer().start({"doubling": Doubling})
