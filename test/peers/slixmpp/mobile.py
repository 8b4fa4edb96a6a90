"""slixmpp clients and a component use what wakes phones and keeps devices in step; prints what each of them saw."""
import asyncio
from xml.etree import ElementTree

import slixmpp
from person import Person, people
from script import run, say, setup, soon
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

plugins = ('xep_0004', 'xep_0030', 'xep_0048', 'xep_0049', 'xep_0060', 'xep_0128', 'xep_0184', 'xep_0199', 'xep_0203',
           'xep_0333')
push, pubsub, bookmarks = 'urn:xmpp:push:0', 'http://jabber.org/protocol/pubsub', 'urn:xmpp:bookmarks:1'
offline, forms = 'urn:isthmus:offline:0', 'jabber:x:data'


def fields(tree):
    """The fields of the first form in an element."""
    form = tree.find(f'.//{{{forms}}}x')
    return {field.get('var'): field.findtext(f'{{{forms}}}value') for field in form.iterfind(f'{{{forms}}}field')}


class Service(slixmpp.ComponentXMPP):
    """A service that pushes to phones."""

    def __init__(self):
        super().__init__('push.hub.test', 'shared', setup['host'], setup['component'])
        self.online = asyncio.get_event_loop().create_future()
        self.pushed, self.notices = asyncio.Queue(), asyncio.Queue()
        self.register_plugin('xep_0060')
        self.add_event_handler('session_start', lambda _: self.online.set_result(True))
        self.add_event_handler('pubsub_publish', self.notices.put_nowait)
        publish = MatchXPath(f'{{{self.default_ns}}}iq/{{{pubsub}}}pubsub/{{{pubsub}}}publish')
        self.register_handler(Callback('push', publish, self.take))
        self.connect()

    def take(self, iq):
        self.pushed.put_nowait(iq)
        iq.reply().send()


def request(person, text):
    iq = person.make_iq_set()
    iq.append(ElementTree.fromstring(text))
    return soon(iq.send())


async def wake(service, romeo, juliet):
    await service['xep_0060'].subscribe('pubsub.hub.test', offline, ifrom='push.hub.test', bare=True)
    await request(juliet, f"""<enable xmlns='{push}' jid='push.hub.test' node='phone'><x xmlns='{forms}' type='submit'>
        <field var='FORM_TYPE'><value>{pubsub}#publish-options</value></field>
        <field var='secret'><value>known to the phone</value></field></x></enable>""")
    gone = juliet.queue('disconnected')
    juliet.disconnect()
    await soon(gone.get())
    for text in ('wake up', 'are you there?'):
        romeo.send_message(mto='juliet@hub.test', mbody=text, mtype='chat')
    pushed = (await soon(service.pushed.get())).xml
    told = fields(pushed.find(f'.//{{{push}}}notification'))
    if told['message-count'] == '1':
        pushed = (await soon(service.pushed.get())).xml
        told = fields(pushed.find(f'.//{{{push}}}notification'))
    options = fields(pushed.find(f'.//{{{pubsub}}}publish-options'))
    say(node=pushed.find(f'.//{{{pubsub}}}publish').get('node'), count=told['message-count'],
        sender=told['last-message-sender'], text=told['last-message-body'], secret=options['secret'])
    notice = (await soon(service.notices.get())).xml.find(f'.//{{{offline}}}offline')
    say(kept=notice.get('jid'), waiting=fields(notice)['message-count'])
    again = Person('juliet@hub.test/phone', plugins)
    await people(again)
    heard = [await soon(again.heard.get()) for _ in range(3)]
    say(heard=sorted(message['body'] for message in heard),
        delayed=sum(message['delay']['stamp'] is not None and message['delay'].xml.get('stamp') is not None
                    for message in heard))
    await request(again, f"<disable xmlns='{push}' jid='push.hub.test'/>")
    return again


async def devices(romeo, juliet):
    """A message to the account comes to all its devices; one answers, and it goes on from there."""
    desk = Person('juliet@hub.test/desk', plugins)
    await people(desk)
    say(greeting=(await soon(desk.heard.get()))['body'])
    romeo.send_message(mto='juliet@hub.test', mbody='to all of you', mtype='chat')
    say(forked=[(await soon(device.heard.get()))['body'] for device in (juliet, desk)])
    receipts, displayed = romeo.queue('receipt_received'), romeo.queue('marker_displayed')
    message = romeo.make_message(mto=desk.boundjid, mbody='for the desk', mtype='chat')
    message['request_receipt'] = True
    message['id'] = 'asks-for-a-receipt'
    message.send()
    say(receipt=(await soon(receipts.get()))['receipt'])
    heard = await soon(desk.heard.get())
    desk['xep_0333'].send_marker(romeo.boundjid, heard['id'], 'displayed', thread='a-thread')
    marker = await soon(displayed.get())
    say(displayed=marker['displayed']['id'])
    desk.disconnect()


async def rooms(juliet):
    """A bookmark of the new kind stands in the old places as well."""
    conference = ElementTree.fromstring(
        f"<conference xmlns='{bookmarks}' name='Garden' autojoin='true'><nick>Jules</nick></conference>")
    options = juliet['xep_0004'].make_form(ftype='submit')
    options.add_field(var='FORM_TYPE', ftype='hidden', value=f'{pubsub}#publish-options')
    for name, value in (('persist_items', 'true'), ('max_items', 'max'), ('access_model', 'whitelist'),
                        ('send_last_published_item', 'never')):
        options.add_field(var=f'pubsub#{name}', value=value)
    own = juliet['xep_0060']
    await own.publish(juliet.boundjid.bare, bookmarks, id='garden@rooms.test', payload=conference, options=options)
    # (The plugin cannot read private storage back, so the elements are looked at.)
    old = (await juliet['xep_0048'].get_bookmarks(method='xep_0049')).xml.find('.//{storage:bookmarks}conference')
    say(old=[old.get('jid'), old.get('name'), old.get('autojoin'), old.findtext('{storage:bookmarks}nick')])
    await own.retract(juliet.boundjid.bare, bookmarks, 'garden@rooms.test')
    old = (await juliet['xep_0048'].get_bookmarks(method='xep_0049')).xml.find('.//{storage:bookmarks}conference')
    say(gone=old is None)


async def contacts(juliet):
    info = (await juliet['xep_0030'].get_info('hub.test'))['disco_info']
    say(contacts=info['form'].get_values().get('abuse-addresses'))


async def main():
    service = Service()
    romeo, juliet = Person('romeo@hub.test/orchard', plugins), Person('juliet@hub.test/phone', plugins)
    await people(service, romeo, juliet)
    juliet = await wake(service, romeo, juliet)
    await devices(romeo, juliet)
    await rooms(juliet)
    await contacts(juliet)
    for person in (romeo, juliet, service):
        person.disconnect()


run(main)
