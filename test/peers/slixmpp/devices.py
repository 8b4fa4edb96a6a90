"""slixmpp plugins use what the hub has for many devices: archive, carbons, client state, blocking, resumption."""
import asyncio
import json
import sys

import slixmpp
from slixmpp.exceptions import IqError

setup = json.loads(sys.argv[1])
plugins = ('xep_0004', 'xep_0030', 'xep_0059', 'xep_0184', 'xep_0191', 'xep_0198', 'xep_0199', 'xep_0203', 'xep_0280',
           'xep_0297', 'xep_0313', 'xep_0333', 'xep_0352', 'xep_0359', 'xep_0441')


class Person(slixmpp.ClientXMPP):
    def __init__(self, jid, password='secret'):
        super().__init__(jid, password)
        self.ca_certs = setup['ca']
        self.online = asyncio.get_event_loop().create_future()
        self.resumed = asyncio.get_event_loop().create_future()
        self.heard = asyncio.Queue()
        self.copies = asyncio.Queue()
        for name in plugins:
            self.register_plugin(name)
        self.add_event_handler('session_start', self.started)
        self.add_event_handler('session_resumed', lambda _: self.resumed.set_result(True))
        self.add_event_handler('message', lambda message: message['body'] and self.heard.put_nowait(message))
        self.add_event_handler('carbon_received', lambda copy: self.copies.put_nowait(('received', copy['carbon_received'])))
        self.add_event_handler('carbon_sent', lambda copy: self.copies.put_nowait(('sent', copy['carbon_sent'])))
        self.add_event_handler('failed_all_auth', lambda _: self.online.set_exception(RuntimeError('no mechanism worked')))
        self.connect((setup['host'], setup['starttls']))

    async def started(self, _):
        await self.get_roster()
        self.send_presence()
        if not self.online.done():
            self.online.set_result(True)


def say(**seen):
    print(json.dumps(seen))


async def soon(what):
    return await asyncio.wait_for(what, 15)


async def archive(juliet, romeo):
    for number in range(25):
        romeo.send_message(mto='juliet@hub.test', mbody=f'line {number}', mtype='chat')
    for _ in range(25):
        await soon(juliet.heard.get())
    mam = juliet['xep_0313']
    found = [result['mam_result']['forwarded']['message']['body'] async for result in mam.iterate()]
    say(lines=found)
    found = [result['mam_result']['forwarded']['message']['body']
             async for result in mam.iterate(reverse=True, total=3, with_jid=slixmpp.JID('romeo@hub.test'))]
    say(last=found)
    say(fields=sorted((await mam.get_fields()).get_fields()))
    ends = (await mam.get_archive_metadata())['mam_metadata']
    say(ends=bool(ends['start']['id'] and ends['end']['id'] and ends['start']['timestamp'] <= ends['end']['timestamp']))
    try:
        # (Its iterator takes an error for the end.)
        await mam.get_archive_metadata(jid=slixmpp.JID('romeo@hub.test'))
        say(foreign='read')
    except IqError as error:
        say(foreign=error.condition)
    await juliet['xep_0441'].set_preferences(default='always', never={slixmpp.JID('nurse@hub.test')})
    default, _, never = await juliet['xep_0441'].get_preferences()
    say(preferences=[default, [str(jid) for jid in never]])


async def carbons(juliet, phone, romeo):
    await phone['xep_0280'].enable()
    juliet.send_message(mto=romeo.boundjid.full, mbody='from the desk', mtype='chat')
    way, copy = await soon(phone.copies.get())
    say(sent=[way, copy['body']])
    romeo.send_message(mto=juliet.boundjid.full, mbody='to the desk', mtype='chat')
    way, copy = await soon(phone.copies.get())
    say(received=[way, copy['body'], bool(copy['stanza_id']['id'])])


async def blocking(juliet, romeo):
    await juliet['xep_0191'].block({slixmpp.JID('romeo@hub.test')})
    blocked = (await juliet['xep_0191'].get_blocked())['blocklist']['items']
    say(blocked=sorted(str(jid) for jid in blocked))
    try:
        await romeo['xep_0199'].send_ping(juliet.boundjid)
        say(blocks='answered')
    except IqError as error:
        say(blocks=error.condition)
    await juliet['xep_0191'].unblock({slixmpp.JID('romeo@hub.test')})
    say(unblocked=len((await juliet['xep_0191'].get_blocked())['blocklist']['items']))


async def resumption(juliet, romeo):
    while not juliet.heard.empty():
        juliet.heard.get_nowait()
    juliet.abort()
    await asyncio.sleep(0.2)
    romeo.send_message(mto=juliet.boundjid.full, mbody='while you were gone', mtype='chat')
    juliet.connect((setup['host'], setup['starttls']))
    say(resumed=await soon(juliet.resumed))
    say(missed=(await soon(juliet.heard.get()))['body'])


async def main():
    juliet = Person('juliet@hub.test/desk')
    romeo = Person('romeo@hub.test/orchard')
    phone = Person('juliet@hub.test/phone')
    for person in (juliet, romeo, phone):
        await soon(person.online)
    # The phone takes nothing that is for the account.
    phone.send_presence(ppriority=-1)
    await archive(juliet, romeo)
    await carbons(juliet, phone, romeo)
    phone['xep_0352'].send_inactive()
    phone['xep_0352'].send_active()
    say(pong=await phone['xep_0199'].ping('hub.test') >= 0)
    await blocking(juliet, romeo)
    await resumption(juliet, romeo)
    for person in (juliet, romeo, phone):
        person.disconnect()


asyncio.get_event_loop().run_until_complete(main())
