"""A user with a slixmpp client: TLS that is verified, some plugins, and queues of what comes."""
import asyncio

import slixmpp
from slixmpp.exceptions import IqError
from script import setup, soon


class Person(slixmpp.ClientXMPP):
    """Connects at once; `online` tells when it has its roster and has sent its presence."""

    def __init__(self, jid, plugins, password=setup['password'], direct=False):
        super().__init__(jid, password)
        self.ca_certs = setup['ca']
        self.online = asyncio.get_event_loop().create_future()
        for name in plugins:
            self.register_plugin(name)
        self.heard = self.queue('message', lambda message: message['body'])
        self.add_event_handler('session_start', self.started)
        self.add_event_handler('failed_all_auth', lambda _: self.online.set_exception(RuntimeError('no mechanism worked')))
        self.direct = direct
        self.dial()

    def dial(self):
        self.connect((setup['host'], setup['direct' if self.direct else 'starttls']), use_ssl=self.direct,
                     force_starttls=not self.direct, disable_starttls=self.direct)

    async def started(self, _):
        await self.get_roster()
        await self.prepare()
        self.send_presence()
        if not self.online.done():
            self.online.set_result(True)

    async def prepare(self):
        """What a script wants done before the first presence."""

    def queue(self, event, that=lambda _: True):
        """A queue of what the library says under this name, as far as `that` is true of it."""
        queue = asyncio.Queue()
        self.add_event_handler(event, lambda what: that(what) and queue.put_nowait(what))
        return queue


async def condition(action):
    """The condition with which an action is refused."""
    try:
        await soon(action)
    except IqError as error:
        return error.condition
    return None


async def people(*all):
    await soon(asyncio.gather(*(person.online for person in all)))
