"""slixmpp plugins ask a domain for everything it offers as a service; prints what each of them understood."""
from xml.etree import ElementTree

import person
from person import condition, people
from script import run, say, soon

plugins = ('xep_0004', 'xep_0012', 'xep_0030', 'xep_0050', 'xep_0077', 'xep_0092', 'xep_0128', 'xep_0133', 'xep_0199',
           'xep_0202')


class Person(person.Person):
    def __init__(self, jid, **more):
        super().__init__(jid, plugins, **more)
        self['xep_0077'].create_account = False


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
    bard = Person('bard@hub.test')
    await people(bard)
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
    juliet = Person('juliet@hub.test', password='hers')
    await people(juliet)
    say(online=values(await command(bard, 'get-online-users-num')))
    say(users=values(await command(bard, 'get-online-users-list', {'max_items': '25'})))
    await command(bard, 'announce', {'announcement': ['Hear ye', 'hear ye']})
    say(heard=(await soon(juliet.heard.get()))['body'])
    say(refused=await condition(command(juliet, 'get-online-users-num')))
    await juliet['xep_0077'].change_password('changed')
    gone = juliet.queue('disconnected')
    await juliet['xep_0077'].cancel_registration()
    await soon(gone.get())
    say(gone=True)
    juliet.abort()
    bard.disconnect()


run(main)
