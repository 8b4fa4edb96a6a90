"""Two slixmpp clients share tunes, avatars and nodes; prints what each of them saw."""
import asyncio
import hashlib
import json
import sys
from xml.etree import ElementTree

import slixmpp
from slixmpp.exceptions import IqError

setup = json.loads(sys.argv[1])
plugins = ['xep_0030', 'xep_0048', 'xep_0049', 'xep_0054', 'xep_0060', 'xep_0084', 'xep_0108', 'xep_0115', 'xep_0118',
           'xep_0153', 'xep_0163', 'xep_0172']


def say(**seen):
    print(json.dumps(seen), flush=True)


class Person(slixmpp.ClientXMPP):
    def __init__(self, jid):
        super().__init__(jid, setup['password'])
        self.ca_certs = setup['ca']
        self.auto_authorize = True
        self.auto_subscribe = True
        loop = asyncio.get_event_loop()
        self.online = loop.create_future()
        self.events = {}
        for plugin in plugins:
            self.register_plugin(plugin)
        for event in ('user_tune_publish', 'avatar_metadata_publish', 'user_nick_publish', 'news_publish'):
            self.events[event] = asyncio.Queue()
            self.add_event_handler(event, self.events[event].put_nowait)
        self.add_event_handler('session_start', self.started)

    async def started(self, _):
        await self.get_roster()
        for plugin in ('xep_0118', 'xep_0084', 'xep_0172'):
            self[plugin].session_bind(self.boundjid)
        await self['xep_0115'].update_caps()
        self.send_presence()
        self.online.set_result(True)

    async def next(self, event):
        return await asyncio.wait_for(self.events[event].get(), 10)


async def main():
    romeo, juliet = Person('romeo@hub.test'), Person('juliet@hub.test')
    for person in (romeo, juliet):
        person.connect((setup['host'], setup['starttls']), force_starttls=True, disable_starttls=False)
    await asyncio.wait_for(asyncio.gather(romeo.online, juliet.online), 15)
    romeo.send_presence_subscription('juliet@hub.test')
    for _ in range(100):
        both = romeo.client_roster['juliet@hub.test']['subscription'] == 'both'
        if both and juliet.client_roster['romeo@hub.test']['subscription'] == 'both':
            break
        await asyncio.sleep(0.05)

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
    try:
        await juliet['xep_0060'].get_items(service, 'news')
    except IqError as error:
        say(closed=error.iq['error']['condition'])
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


asyncio.get_event_loop().run_until_complete(asyncio.wait_for(main(), 40))
