"""Coroutines that wait for each other, a plain method beside them, and a stream."""

import asyncio

import dragoman


@dragoman.service(envelope=False)
class Side:
    async def startup(self):
        self.waiting = 0
        self.met = asyncio.Event()

    async def meet(self, name: str) -> str:
        """Answers when two are there."""
        self.waiting += 1
        if self.waiting == 2:
            self.met.set()
        await self.met.wait()
        return name

    def plain(self, number: int) -> int:
        return -number

    @dragoman.endpoint(method="GET")
    async def ticks(self, until: int):
        for number in range(until):
            await asyncio.sleep(0)
            yield {"tick": number}
