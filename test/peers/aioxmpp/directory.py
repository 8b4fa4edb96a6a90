"""aioxmpp clients of people in a directory: SCRAM, shared groups in rosters, cards, search, a message to a group."""
import aioxmpp
from elements import Search, form, made
from person import Person, domain, jid, people
from script import run, say, until


async def main():
    services = (aioxmpp.RosterClient, aioxmpp.PresenceClient)
    romeo = Person('romeo@hub.test/orchard', *services, password='rose')
    juliet = Person('juliet@hub.test/balcony', *services, password='moon')
    await people(romeo, juliet)
    say(mechanisms=[romeo.mechanism, juliet.mechanism])
    entry = romeo[aioxmpp.RosterClient].items[juliet.bare]
    say(entry=[entry.name, sorted(entry.groups), entry.subscription])
    await until(lambda: romeo[aioxmpp.PresenceClient].get_stanza(juliet.jid))
    card = await romeo[aioxmpp.vcard.VCardService].get_vcard(juliet.bare)
    say(photo=card.get_photo_mime_type(), name=[one.text for one in card.elements if one.tag == '{vcard-temp}FN'])
    found = await romeo.ask('SET', made(Search, form=form('jabber:iq:search', first='*capulet*')), domain)
    say(found=[[one.values[0] for one in item.fields if one.var == 'jid'] for item in found.form.items])
    romeo.write(jid('household@groups.hub.test'), 'Is she there?')
    say(group=(await juliet.hears('Is she there?')).type_.value)
    for person in (romeo, juliet):
        await person.offline()


run(main)
