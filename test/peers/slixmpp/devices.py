"""slixmpp plugins use what the hub has for many devices: archive, carbons, client state, blocking, resumption."""
from xml.etree import ElementTree

import slixmpp
from person import Person, condition, people
from script import run, say, soon

plugins = ('xep_0004', 'xep_0030', 'xep_0059', 'xep_0184', 'xep_0191', 'xep_0198', 'xep_0199', 'xep_0203', 'xep_0280',
           'xep_0297', 'xep_0313', 'xep_0333', 'xep_0352', 'xep_0359', 'xep_0441')


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
    # (Its iterator takes an error for the end.)
    say(foreign=await condition(mam.get_archive_metadata(jid=slixmpp.JID('romeo@hub.test'))))
    await juliet['xep_0441'].set_preferences(default='always', never={slixmpp.JID('nurse@hub.test')})
    default, _, never = await juliet['xep_0441'].get_preferences()
    say(preferences=[default, [str(jid) for jid in never]])


async def carbons(juliet, phone, romeo):
    sent, received = phone.queue('carbon_sent'), phone.queue('carbon_received')
    await phone['xep_0280'].enable()
    juliet.send_message(mto=romeo.boundjid.full, mbody='from the desk', mtype='chat')
    say(sent=(await soon(sent.get()))['carbon_sent']['body'])
    romeo.send_message(mto=juliet.boundjid.full, mbody='to the desk', mtype='chat')
    copy = (await soon(received.get()))['carbon_received']
    say(received=[copy['body'], bool(copy['stanza_id']['id'])])


async def blocking(juliet, romeo):
    await juliet['xep_0191'].block({slixmpp.JID('romeo@hub.test')})
    blocked = (await juliet['xep_0191'].get_blocked())['blocklist']['items']
    say(blocked=sorted(str(jid) for jid in blocked))
    say(blocks=await condition(romeo['xep_0199'].send_ping(juliet.boundjid)))
    await juliet['xep_0191'].unblock({slixmpp.JID('romeo@hub.test')})
    say(unblocked=len((await juliet['xep_0191'].get_blocked())['blocklist']['items']))


async def reporting(juliet):
    """A block can say why (the plugin speaks an older version of it)."""
    iq = juliet.make_iq_set()
    iq.append(ElementTree.fromstring("""<block xmlns='urn:xmpp:blocking'><item jid='spam.test'>
        <report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'/></item></block>"""))
    await soon(iq.send())
    blocked = (await juliet['xep_0191'].get_blocked())['blocklist']['items']
    say(reported=[str(jid) for jid in blocked])


async def resumption(juliet, romeo):
    while not juliet.heard.empty():
        juliet.heard.get_nowait()
    gone, resumed = juliet.queue('disconnected'), juliet.queue('session_resumed')
    juliet.abort()
    await soon(gone.get())
    romeo.send_message(mto=juliet.boundjid.full, mbody='while you were gone', mtype='chat')
    juliet.dial()
    say(resumed=await soon(resumed.get()) is not None)
    say(missed=(await soon(juliet.heard.get()))['body'])


async def main():
    juliet = Person('juliet@hub.test/desk', plugins)
    romeo = Person('romeo@hub.test/orchard', plugins)
    phone = Person('juliet@hub.test/phone', plugins)
    await people(juliet, romeo, phone)
    # The phone takes nothing that is for the account.
    phone.send_presence(ppriority=-1)
    await archive(juliet, romeo)
    await carbons(juliet, phone, romeo)
    phone['xep_0352'].send_inactive()
    phone['xep_0352'].send_active()
    say(pong=await phone['xep_0199'].ping('hub.test') >= 0)
    await blocking(juliet, romeo)
    await reporting(juliet)
    await resumption(juliet, romeo)
    for person in (juliet, romeo, phone):
        person.disconnect()


run(main)
