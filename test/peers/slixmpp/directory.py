"""slixmpp clients of people in a directory: PLAIN, shared groups in rosters, cards, search, a message to a group."""
from person import Person, people
from script import run, say, soon, until

plugins = ('xep_0004', 'xep_0030', 'xep_0054', 'xep_0055')


async def main():
    romeo = Person('romeo@hub.test/orchard', plugins, password='rose')
    juliet = Person('juliet@hub.test/balcony', plugins, password='moon')
    await people(romeo, juliet)
    say(mechanisms=[person['feature_mechanisms'].mech.name for person in (romeo, juliet)])
    entry = romeo.client_roster['juliet@hub.test']
    say(entry=[entry['name'], sorted(entry['groups']), entry['subscription']])
    await until(lambda: 'balcony' in entry.resources)
    card = (await romeo['xep_0054'].get_vcard('juliet@hub.test', cached=False))['vcard_temp']
    say(photo=card['PHOTO']['TYPE'], name=[card['FN']])
    asked = romeo.make_iq_set(ito='hub.test')
    asked['search']['form']['type'] = 'submit'
    asked['search']['form'].add_field(var='FORM_TYPE', ftype='hidden', value='jabber:iq:search')
    asked['search']['form'].add_field(var='first', value='*capulet*')
    found = (await asked.send())['search']['form']
    say(found=[[item['jid']] for item in found['items']])
    romeo.send_message(mto='household@groups.hub.test', mbody='Is she there?', mtype='chat')
    say(group=(await soon(juliet.heard.get()))['type'])
    for person in (romeo, juliet):
        person.disconnect()


run(main)
