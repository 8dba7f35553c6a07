"""Progress of long work: told again and again beside it, whether or not the work itself ever pauses to speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.admin import Progress

TELL_SECONDS = 0.25


@asynccontextmanager
async def telling(progress: Progress, said: Callable[[], str]) -> AsyncIterator[None]:
    """Tell what `said` says, for as long as the block takes. Whoever has stopped listening stops nothing."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await progress(said())

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
