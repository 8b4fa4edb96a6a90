"""Two slixmpp clients share tunes, avatars and nodes; prints what each of them saw."""
import hashlib
from xml.etree import ElementTree

import person
from person import condition, people
from script import run, say, soon, until

plugins = ['xep_0012', 'xep_0030', 'xep_0048', 'xep_0049', 'xep_0054', 'xep_0060', 'xep_0084', 'xep_0108', 'xep_0115', 'xep_0118',
           'xep_0153', 'xep_0163', 'xep_0172']


class Person(person.Person):
    def __init__(self, jid):
        super().__init__(jid, plugins)
        self.auto_authorize = True
        self.auto_subscribe = True
        events = ('user_tune_publish', 'avatar_metadata_publish', 'user_nick_publish', 'news_publish')
        self.events = {event: self.queue(event) for event in events}

    async def prepare(self):
        for plugin in ('xep_0118', 'xep_0084', 'xep_0172'):
            self[plugin].session_bind(self.boundjid)
        await self['xep_0115'].update_caps()

    def next(self, event):
        return soon(self.events[event].get())


async def main():
    romeo, juliet = Person('romeo@hub.test'), Person('juliet@hub.test')
    await people(romeo, juliet)
    romeo.send_presence_subscription('juliet@hub.test')
    for mine, theirs in ((romeo, juliet), (juliet, romeo)):
        await until(lambda: mine.client_roster[theirs.boundjid.bare]['subscription'] == 'both')

    await romeo['xep_0118'].publish_tune(artist='Prokofiev', title='Dance of the Knights')
    tune = await juliet.next('user_tune_publish')
    say(tune=tune['pubsub_event']['items']['item']['tune']['title'], tune_from=str(tune['from']))
    await romeo['xep_0172'].publish_nick('Ro')
    nick = await juliet.next('user_nick_publish')
    say(nick=nick['pubsub_event']['items']['item']['nick']['nick'])

    face = b'\x89PNG\r\n\x1a\nface'
    digest = hashlib.sha1(face).hexdigest()
    await romeo['xep_0084'].publish_avatar(face)
    await romeo['xep_0084'].publish_avatar_metadata([{'id': digest, 'type': 'image/png', 'bytes': len(face)}])
    await juliet.next('avatar_metadata_publish')
    data = await juliet['xep_0084'].retrieve_avatar('romeo@hub.test', digest)
    say(avatar=data['pubsub']['items']['item']['avatar_data']['value'] == face)
    card = await juliet['xep_0054'].get_vcard('romeo@hub.test', cached=False)
    say(photo=card['vcard_temp']['PHOTO']['BINVAL'] == face)

    vcard4 = 'urn:ietf:params:xml:ns:vcard-4.0'
    card = ElementTree.fromstring(f"<vcard xmlns='{vcard4}'><fn><text>Romeo Montague</text></fn></vcard>")
    await romeo['xep_0060'].publish('romeo@hub.test', 'urn:xmpp:vcard4', id='current', payload=card)
    found = await juliet['xep_0060'].get_items('romeo@hub.test', 'urn:xmpp:vcard4')
    say(name=found.xml.findtext(f'.//{{{vcard4}}}text'))
    last = await juliet['xep_0012'].get_last_activity('romeo@hub.test')
    say(last=last['last_activity']['seconds'])

    service = 'pubsub.hub.test'
    pubsub = romeo['xep_0060']
    await pubsub.create_node(service, 'news')
    for person in (romeo, juliet):
        person['xep_0060'].map_node_event('news', 'news')
    subscribed = await juliet['xep_0060'].subscribe(service, 'news')
    say(subscription=subscribed['pubsub']['subscription']['subscription'])
    entry = ElementTree.fromstring("<entry xmlns='http://www.w3.org/2005/Atom'><title>News</title></entry>")
    await pubsub.publish(service, 'news', id='one', payload=entry)
    heard = await juliet.next('news_publish')
    say(news=heard['pubsub_event']['items']['item']['id'])
    config = await pubsub.get_node_config(service, 'news')
    form = config['pubsub_owner']['configure']['form']
    say(title=form.get_fields()['pubsub#access_model'].get_value())
    form['type'] = 'submit'
    form.get_fields()['pubsub#access_model']['value'] = 'whitelist'
    await pubsub.set_node_config(service, 'news', form)
    say(closed=await condition(juliet['xep_0060'].get_items(service, 'news')))
    await pubsub.modify_affiliations(service, 'news', [('juliet@hub.test', 'member')])
    items = await juliet['xep_0060'].get_items(service, 'news')
    say(items=[item['id'] for item in items['pubsub']['items']])
    nodes = await juliet['xep_0060'].get_nodes(service)
    say(nodes=[item[1] for item in nodes['disco_items']['items']])
    info = await juliet['xep_0030'].get_info(jid='romeo@hub.test')
    say(identities=sorted(f'{one[0]}/{one[1]}' for one in info['disco_info']['identities']))
    await pubsub.delete_node(service, 'news')
    for person in (romeo, juliet):
        person.disconnect()


run(main)
