"""slixmpp plugins ask a domain for everything it offers as a service; prints what each of them understood."""
import asyncio
import json
import sys
import traceback
from xml.etree import ElementTree

import slixmpp
from slixmpp.exceptions import IqError

setup = json.loads(sys.argv[1])
plugins = ('xep_0004', 'xep_0012', 'xep_0030', 'xep_0050', 'xep_0077', 'xep_0092', 'xep_0128', 'xep_0133', 'xep_0199',
           'xep_0202')


class Person(slixmpp.ClientXMPP):
    def __init__(self, jid, password):
        super().__init__(jid, password)
        self.ca_certs = setup['ca']
        self.online = asyncio.get_event_loop().create_future()
        for name in plugins:
            self.register_plugin(name)
        self['xep_0077'].create_account = False
        self.add_event_handler('session_start', self.started)
        self.add_event_handler('failed_all_auth', lambda _: self.online.set_exception(RuntimeError('no mechanism worked')))
        self.connect((setup['host'], setup['starttls']))

    async def started(self, _):
        await self.get_roster()
        self.send_presence()
        self.online.set_result(True)


def say(**seen):
    print(json.dumps(seen))


def values(iq):
    fields = iq['command']['form'].get_values()
    return {name: value for name, value in fields.items() if name != 'FORM_TYPE'}


async def command(bard, name, answers=None):
    """Goes through a command the way the plugin's own steps do, and gives the last answer."""
    node = 'http://jabber.org/protocol/admin#' + name
    begun = await bard['xep_0050'].send_command('hub.test', node)
    if begun['command']['status'] != 'executing':
        return begun
    form = begun['command']['form']
    form['type'] = 'submit'
    for key, value in (answers or {}).items():
        form.field[key]['value'] = value
    return await bard['xep_0050'].send_command('hub.test', node, sessionid=begun['command']['sessionid'],
                                               action='complete', payload=form)


async def main():
    bard = Person('bard@hub.test', 'secret')
    await asyncio.wait_for(bard.online, 15)
    info = await bard['xep_0030'].get_info('hub.test')
    say(features=sorted(info['disco_info']['features']))
    version = await bard['xep_0092'].get_version('hub.test')
    say(software=version['software_version']['name'])
    time = await bard['xep_0202'].get_entity_time('hub.test')
    # The plugin's own reader puts a second Z behind what the specification asks for.
    say(time=time['entity_time'].xml.find('{urn:xmpp:time}utc').text)
    last = await bard['xep_0012'].get_last_activity('hub.test')
    say(uptime=last['last_activity']['seconds'])
    say(ping=await bard['xep_0199'].ping('hub.test') >= 0)
    ask = bard.make_iq_get(ito='hub.test')
    ask.append(ElementTree.Element('{urn:xmpp:extdisco:2}services'))
    services = (await ask.send()).xml.iter('{urn:xmpp:extdisco:2}service')
    say(services=[[s.get('type'), s.get('host'), s.get('username') is not None] for s in services])
    listed = await bard['xep_0050'].get_commands('hub.test')
    say(commands=[item[1].split('#')[1] for item in listed['disco_items']['items']])
    added = await command(bard, 'add-user', {'accountjid': 'juliet@hub.test', 'password': 'hers', 'password-verify': 'hers'})
    say(added=added['command']['status'])
    juliet = Person('juliet@hub.test', 'hers')
    await asyncio.wait_for(juliet.online, 15)
    say(online=values(await command(bard, 'get-online-users-num')))
    say(users=values(await command(bard, 'get-online-users-list', {'max_items': '25'})))
    heard = asyncio.get_event_loop().create_future()
    juliet.add_event_handler('message', lambda m: heard.done() or heard.set_result(m['body']))
    await command(bard, 'announce', {'announcement': ['Hear ye', 'hear ye']})
    say(heard=await asyncio.wait_for(heard, 10))
    try:
        await command(juliet, 'get-online-users-num')
    except IqError as error:
        say(refused=error.condition)
    await juliet['xep_0077'].change_password('changed')
    gone = asyncio.get_event_loop().create_future()
    juliet.add_event_handler('disconnected', lambda _: gone.done() or gone.set_result(True))
    await juliet['xep_0077'].cancel_registration()
    say(gone=await asyncio.wait_for(gone, 10))
    juliet.abort()
    bard.disconnect()


try:
    asyncio.get_event_loop().run_until_complete(main())
except Exception:
    traceback.print_exc()
    sys.exit(1)
