"""Clients of HTTP/3 against an edge: `python tests-clients/http3 TEST`.

Environment: MERIDIAN (the binary), TLS_CERT and TLS_KEY (for localhost and
127.0.0.1). Without a test it lists them. Exits 0 when all is as it must be.
"""

import asyncio
import inspect
import sys

import floods
import functional
import malformed


def tests():
    for module in (functional, malformed, floods):
        for name, value in vars(module).items():
            own = inspect.iscoroutinefunction(value) and value.__module__ == module.__name__
            if own and not inspect.signature(value).parameters:
                yield name, value


if __name__ == "__main__":
    known = dict(tests())
    if len(sys.argv) < 2:
        print("\n".join(known))
    else:
        asyncio.run(asyncio.wait_for(known[sys.argv[1]](), 120))
