"""Asks a node with one of Python's HTTP libraries: `client.py aiohttp|httpx|requests BASE PATH...`.

Each path gets bodies of several sizes, with a content-length and chunked, several of each over a session that
keeps its connections. Prints one line for each request that was not answered with 200, or by `echo` with
another body, and how many requests there were. Ends with 1 if there is such a line.
"""

import asyncio
import sys

SIZES = (0, 1, 64 << 10, 1 << 20)
TIMES = 3
CHUNK = 16 << 10


def chunks(body):
    """The body in parts, which none of the libraries knows the length of."""
    for start in range(0, len(body), CHUNK):
        yield body[start : start + CHUNK]


async def async_chunks(body):
    for chunk in chunks(body):
        yield chunk


def with_requests(base):
    import requests

    session = requests.Session()

    def post(path, body, chunked):
        response = session.post(base + path, data=chunks(body) if chunked else body, timeout=60)
        return response.status_code, response.content

    return post


def with_httpx(base):
    import httpx

    session = httpx.Client(timeout=60)

    def post(path, body, chunked):
        response = session.post(base + path, content=chunks(body) if chunked else body)
        return response.status_code, response.content

    return post


def with_aiohttp(base):
    import aiohttp

    loop = asyncio.new_event_loop()

    async def session():
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))

    session = loop.run_until_complete(session())

    async def ask(path, body, chunked):
        async with session.post(base + path, data=async_chunks(body) if chunked else body) as response:
            return response.status, await response.read()

    return lambda path, body, chunked: loop.run_until_complete(ask(path, body, chunked))


def main():
    library, base, *paths = sys.argv[1:]
    post = {"aiohttp": with_aiohttp, "httpx": with_httpx, "requests": with_requests}[library](base)
    asked, failed = 0, 0
    for path in paths:
        for size in SIZES:
            body = bytes(index % 251 for index in range(size))
            for chunked in (False, True):
                for number in range(TIMES):
                    asked += 1
                    try:
                        status, answer = post(path, body, chunked)
                        fault = f"status {status}" if status != 200 else None
                        if path == "/echo" and answer != body:
                            fault = f"{len(answer)} bytes came back"
                    except Exception as error:  # Whatever a library raises is a request without an answer.
                        fault = repr(error)
                    if fault:
                        failed += 1
                        print(f"{path}, {size} bytes, chunked {chunked}, request {number}: {fault}")
    print(f"{asked} requests")
    # A session that is left open complains at the end.
    sys.stdout.flush()
    import os

    os._exit(1 if failed else 0)


main()
