"""Two slixmpp clients log in, one over STARTTLS and one over direct TLS, and talk; prints what each of them saw."""
import asyncio
import json
import sys

import slixmpp

setup = json.loads(sys.argv[1])


class Person(slixmpp.ClientXMPP):
    def __init__(self, jid):
        super().__init__(jid, setup['password'])
        self.ca_certs = setup['ca']
        self.online = asyncio.get_event_loop().create_future()
        self.heard = asyncio.get_event_loop().create_future()
        self.register_plugin('xep_0198')
        self.register_plugin('xep_0199')
        self.add_event_handler('session_start', self.started)
        self.add_event_handler('message', lambda m: self.heard.done() or self.heard.set_result(m['body']))
        self.add_event_handler('failed_all_auth', lambda _: self.online.set_exception(RuntimeError('no mechanism worked')))

    async def started(self, _):
        await self.get_roster()
        self.send_presence()
        self.online.set_result(True)


async def main():
    romeo, juliet = Person('romeo@hub.test'), Person('juliet@hub.test')
    romeo.connect((setup['host'], setup['starttls']), force_starttls=True, disable_starttls=False)
    juliet.connect((setup['host'], setup['direct']), use_ssl=True)
    await asyncio.wait_for(asyncio.gather(romeo.online, juliet.online), 15)
    romeo.send_message(mto='juliet@hub.test', mbody='from slixmpp 爱', mtype='chat')
    print(json.dumps({'juliet': await asyncio.wait_for(juliet.heard, 10)}))
    juliet.send_message(mto='romeo@hub.test', mbody='back again', mtype='chat')
    print(json.dumps({'romeo': await asyncio.wait_for(romeo.heard, 10)}))
    pong = await romeo['xep_0199'].ping('hub.test', timeout=5)
    print(json.dumps({'ping': pong >= 0, 'version': [c.socket.version() if hasattr(c.socket, 'version') else '' for c in (romeo, juliet)]}))
    for person in (romeo, juliet):
        person.disconnect()


asyncio.get_event_loop().run_until_complete(main())
