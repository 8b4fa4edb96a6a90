"""What every script is given, and how it tells what it saw."""
import asyncio
import json
import sys

setup = json.loads(sys.argv[1])


def say(**seen):
    print(json.dumps(seen), flush=True)


async def soon(what):
    return await asyncio.wait_for(what, 15)


async def until(true):
    """Waits until a condition holds that no event tells of."""
    for _ in range(300):
        if true():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError('never came true')


def run(main):
    asyncio.get_event_loop().run_until_complete(asyncio.wait_for(main(), 40))
