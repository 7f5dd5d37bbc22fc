"""The official Python client against an MCP endpoint, in one era.

    mcp_python.py URL CA_FILE auto|legacy|2026-07-28

MERIDIAN_BACKENDS names the processes that are killed at last. Exits 0 when
everything is answered as without a proxy between, else says what was not.
"""

import asyncio
import os
import signal
import ssl
import sys
import time

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

TOOLS = ("echo", "region_info", "slow", "records_put", "records_get", "records_search")


def check(what, holds):
    if not holds:
        sys.exit(f"not as expected: {what}")


async def main(url, ca_file, mode):
    verify = ssl.create_default_context(cafile=ca_file) if url.startswith("https") else True
    async with httpx2.AsyncClient(verify=verify, timeout=60) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode) as client:
            await lists(client)
            await calls(client)
            await streams(client)
            await cancels(client)
            await dies(client)


async def lists(client):
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    for name in TOOLS:
        check(f"tool {name} is listed", name in tools)
    check("annotations arrive", tools["echo"].annotations.read_only_hint)


async def calls(client):
    answer = await client.call_tool("echo", {"text": "grüße"})
    check(f"echo: {answer}", not answer.is_error and "grüße" in str(answer.content))
    record = {"key": "k", "value": "v", "class": "tier_2_personal"}
    answer = await client.call_tool("records_put", record)
    check(f"records_put: {answer}", not answer.is_error)
    answer = await client.call_tool("records_get", {"key": "k"})
    check(f"records_get: {answer}", not answer.is_error and "v" in str(answer.content))


async def streams(client):
    seen = []

    async def progress(done, total, message):
        seen.append(time.monotonic())

    answer = await client.call_tool(
        "slow", {"steps": 4, "step_ms": 150}, progress_callback=progress
    )
    check(f"slow: {answer}", not answer.is_error)
    check(f"progress: {len(seen)} steps", len(seen) >= 3)
    check("progress is streamed, not held back", seen[-1] - seen[0] > 0.2)


async def cancels(client):
    begun = asyncio.Event()

    async def progress(done, total, message):
        begun.set()

    call = client.call_tool("slow", {"steps": 600, "step_ms": 100}, progress_callback=progress)
    task = asyncio.create_task(call)
    await asyncio.wait_for(begun.wait(), 20)
    task.cancel()
    await asyncio.wait([task], timeout=20)
    check("a cancelled call ends", task.done())
    answer = await client.call_tool("echo", {"text": "still here"})
    check("the client goes on after a cancel", not answer.is_error)


async def dies(client):
    """Every backend dies within a stream: the call ends at once, not by a timeout."""
    died = []

    async def progress(done, total, message):
        died.append(time.monotonic())
        while backends:
            os.kill(backends.pop(), signal.SIGKILL)

    backends = [int(pid) for pid in os.environ["MERIDIAN_BACKENDS"].split(",")]
    arguments = {"steps": 600, "step_ms": 100}
    try:
        await client.call_tool("slow", arguments, progress_callback=progress)
        check("a call whose backend died ends with an error", False)
    except MCPError as error:
        check(f"it is the edge's: {error!r}", error.error.code == 502)
    check("a call whose backend died ends at once", time.monotonic() - died[0] < 10)


asyncio.run(main(*sys.argv[1:4]))
