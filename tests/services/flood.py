#!/usr/bin/env python3
"""Asks the same again and again, many times at once, until it is killed.

Usage: flood.py SERVER TOKEN CALLS_AT_ONCE QUESTION
"""

import asyncio
import sys

import built_client  # noqa: F401
import ilre


async def ask(client: ilre.AsyncClient, question: str) -> None:
    while True:
        try:
            await client.retrieve(question, "papers/secret")
        except ilre.ResourceExhaustedError as error:
            await asyncio.sleep(error.retry_delay)


async def main(server: str, token: str, calls: int, question: str) -> None:
    async with ilre.AsyncClient(server, token=token, retry=ilre.NO_RETRIES) as client:
        await asyncio.gather(*(ask(client, question) for _ in range(calls)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
