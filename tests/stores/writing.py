"""A program of the tests: commits units and says which were acknowledged; killed, or short of space, by its parent.

writing.py crash URL          "n" per line for each acknowledged order, until it is killed
writing.py full URL BYTES     fills a store whose file may not grow beyond so many bytes, then is given space
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import signal
import sys

from ca_core.clock import system_clock
from gateway.store import open_store
from policy import store as interface
from policy.ids import OrderId
from policy.store import StoreUnavailable, Unit
from tests.stores import values


def writing(name: str, padding: int = 0) -> Unit:
    """An order and its audit row: both or none."""
    unit = values.inserting(values.order(id=OrderId(name), requester="x" * padding))
    unit.audit(values.audited(f"order:{name}"))
    return unit


async def crash(url: str) -> None:
    """Commit from eight tasks at once and report each acknowledgement by one write to standard output."""
    store = await open_store(url, clock=system_clock)
    prefix = os.getpid()
    numbers = itertools.count()

    async def work() -> None:
        for number in numbers:
            name = f"{prefix}-{number}"
            await store.commit(writing(name, 400))
            os.write(1, f"{name}\n".encode())

    await asyncio.gather(*(work() for _ in range(8)))


async def full(url: str, limit: int) -> None:
    """Until the disk is full, while it is, and after it is not any more."""
    # Without this the kernel ends the process at the limit instead of failing the write.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = await open_store(url, clock=system_clock)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    acknowledged: list[str] = []
    numbers = itertools.count()

    async def work() -> None:
        while True:
            name = f"o{next(numbers)}"
            await store.commit(writing(name, 3000))
            acknowledged.append(name)

    found = await asyncio.gather(*(work() for _ in range(8)), return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in found), found
    assert acknowledged
    for name in acknowledged:
        assert await store.one(interface.ORDER, name) is not None, name
    try:
        await store.commit(writing("while-full", 3000))
    except StoreUnavailable:
        print("refused while full")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.commit(writing("after", 3000))
    acknowledged.append("after")
    for name in acknowledged:
        assert await store.one(interface.ORDER, name) is not None, name
    assert await store.integrity() == []
    await store.close()
    print(f"acknowledged {len(acknowledged)}")


if __name__ == "__main__":
    if sys.argv[1] == "crash":
        asyncio.run(crash(sys.argv[2]))
    else:
        asyncio.run(full(sys.argv[2], int(sys.argv[3])))
