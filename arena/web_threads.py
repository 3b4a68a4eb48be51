"""Where the work of pages is done that would hold up others: thinking, and reading from disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

THREADS = ThreadPoolExecutor(64, thread_name_prefix="thinking")
"""Where agents think. More than there are cores: most of them wait for a policy that another table uses."""


async def in_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    return await asyncio.get_running_loop().run_in_executor(THREADS, work, *arguments)
