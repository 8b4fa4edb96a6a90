"""aioxmpp clients share what they publish: discovery, eventing, nodes, pictures, cards; prints what each saw."""
import aioxmpp
from aioxmpp import pubsub, xso
from aioxmpp.avatar import AvatarSet
from aioxmpp.bookmarks import Conference
from lxml import etree
from person import Person, befriend, condition, domain, jid, once, people
from script import run, say, soon, until

service = jid('pubsub.hub.test')
tunes = 'http://jabber.org/protocol/tune'
picture = b'\x89PNG\r\n\x1a\na face'


@pubsub.xso.as_payload_class
class Tune(xso.XSO):
    TAG = (tunes, 'tune')
    title = xso.ChildText((tunes, 'title'), default=None)


@pubsub.xso.as_payload_class
class Entry(xso.XSO):
    TAG = ('http://www.w3.org/2005/Atom', 'entry')
    title = xso.ChildText(('http://www.w3.org/2005/Atom', 'title'))

    def __init__(self, title=None):
        super().__init__()
        self.title = title


@aioxmpp.private_xml.Query.as_payload_class
class Notes(xso.XSO):
    TAG = ('urn:example:notes', 'notes')
    note = xso.ChildText(('urn:example:notes', 'note'), default=None)


def tune(title):
    one = Tune()
    one.title = title
    return one


async def discovery(romeo, juliet):
    disco = juliet[aioxmpp.DiscoClient]
    info = await disco.query_info(domain)
    say(identities=sorted(f'{one.category}/{one.type_}' for one in info.identities), features=sorted(info.features))
    items = await disco.query_items(domain)
    say(items=sorted(str(item.jid) for item in items.items))
    account = await disco.query_info(romeo.bare)
    say(account=sorted(f'{one.category}/{one.type_}' for one in account.identities))
    say(missing=await condition(disco.query_info(domain, node='no-such-node')))
    # Both kinds of capabilities reach contacts, and what they stand for is read once.
    asked = romeo[aioxmpp.DiscoServer]
    presence = juliet[aioxmpp.PresenceClient].get_stanza(romeo.jid)
    say(caps=[presence.xep0115_caps is not None, presence.xep0390_caps is not None])
    found = await disco.query_info(romeo.jid)
    say(client=tunes in found.features)
    asked.register_feature('urn:example:new')
    changed = once(juliet[aioxmpp.PresenceClient].on_changed)
    romeo[aioxmpp.PresenceServer].resend_presence()
    await soon(changed)
    say(news='urn:example:new' in (await disco.query_info(romeo.jid)).features)


async def eventing(romeo, juliet, nurse):
    node = juliet[aioxmpp.PEPClient].claim_pep_node(tunes, notify=True)
    own = romeo[aioxmpp.PEPClient].claim_pep_node(tunes, notify=True)
    for person in (juliet, romeo):
        # What it wants to hear of is in its capabilities, so they come before presence.
        person[aioxmpp.PresenceServer].resend_presence()
    heard, mine = once(node.on_item_publish), once(own.on_item_publish)
    await romeo[aioxmpp.PEPClient].publish(tunes, tune('Sigh no more'), id_='current')
    who, _, item = await soon(heard)
    say(tune=[str(who), item.registered_payload.title, item.id_], mine=str((await soon(mine))[0]))
    ask = nurse[aioxmpp.PubSubClient]
    say(stranger=await condition(ask.get_items(romeo.bare, tunes)))
    # A later device is told of what is current when it comes.
    tablet = Person('juliet@hub.test/tablet', aioxmpp.PEPClient, aioxmpp.RosterClient)
    late = tablet[aioxmpp.PEPClient].claim_pep_node(tunes, notify=True)
    current = once(late.on_item_publish)
    await tablet.online()
    say(current=(await soon(current))[2].registered_payload.title)
    await tablet.offline()
    await romeo[aioxmpp.PEPClient].publish('urn:example:diary', tune('secret'), access_model='whitelist')
    say(closed=await condition(juliet[aioxmpp.PubSubClient].get_items(romeo.bare, 'urn:example:diary')))
    node.close()
    own.close()


async def nodes(romeo, juliet):
    mine, hers = romeo[aioxmpp.PubSubClient], juliet[aioxmpp.PubSubClient]
    say(service=sorted(one.value.split('#')[1] for one in await mine.get_features(service)))
    await mine.create(service, 'news')
    say(again=await condition(mine.create(service, 'news')), instant=bool(await mine.create(service)))
    data = await mine.get_node_config(service, 'news')
    config = pubsub.NodeConfigForm.from_xso(data)
    say(model=[config.access_model.value, 'whitelist' in config.access_model.options])
    config.max_items.value = '2'
    config.title.value = 'The news'
    await mine.set_node_config(service, config.render_reply(), 'news')
    say(configured=pubsub.NodeConfigForm.from_xso(await mine.get_node_config(service, 'news')).title.value)
    subscribed = (await hers.subscribe(service, 'news')).payload
    say(subscribed=[str(subscribed.jid), subscribed.subscription, subscribed.subid is not None])
    heard = once(hers.on_item_published)
    await mine.publish(service, 'news', Entry('one'), id_='one')
    _, name, item = await soon(heard)
    say(published=[name, item.id_, item.registered_payload.title])
    given = await mine.publish(service, 'news', Entry('two'))
    await mine.publish(service, 'news', Entry('three'), id_='three')
    items = (await hers.get_items(service, 'news')).payload.items
    say(kept=[item.registered_payload.title for item in items], given=given in [item.id_ for item in items])
    say(most=[item.id_ for item in (await hers.get_items(service, 'news', max_items=1)).payload.items])
    say(chosen=[item.id_ for item in (await hers.get_items_by_id(service, 'news', ['three'])).payload.items])
    say(forbidden=await condition(hers.publish(service, 'news', Entry('hers'))))
    retracted = once(hers.on_item_retracted)
    await mine.retract(service, 'news', 'three', notify=True)
    say(retracted=(await soon(retracted))[2])
    affiliated = once(hers.on_affiliation_update)
    await mine.change_node_affiliations(service, 'news', [(juliet.bare, 'publisher')])
    say(told=(await soon(affiliated))[2])
    all = (await mine.get_node_affiliations(service, 'news')).payload.affiliations
    say(affiliations=sorted([str(one.jid), one.affiliation] for one in all))
    say(publisher=await hers.publish(service, 'news', Entry('hers'), id_='hers'))
    all = (await mine.get_node_subscriptions(service, 'news')).payload.subscriptions
    say(subscriptions=[[str(one.jid), one.subscription] for one in all])
    all = (await hers.get_subscriptions(service)).subscriptions
    say(hers=[[one.node, one.subscription] for one in all])
    await mine.purge(service, 'news')
    say(purged=len((await hers.get_items(service, 'news')).payload.items))
    say(nodes=['news', 'The news'] in [list(one) for one in await hers.get_nodes(service)])
    deleted = once(hers.on_node_deleted)
    await mine.delete(service, 'news', redirect_uri='xmpp:pubsub.hub.test?;node=later')
    say(deleted=(await soon(deleted))[1], gone=await condition(hers.get_items(service, 'news')))


async def pictures(romeo, juliet):
    watch, cards = juliet[aioxmpp.AvatarService], juliet[aioxmpp.vcard.VCardService]
    changed = once(watch.on_metadata_changed)
    image = AvatarSet()
    image.add_avatar_image('image/png', image_bytes=picture)
    await romeo[aioxmpp.AvatarService].publish_avatar_set(image)
    who, found = await soon(changed)
    say(avatar=[str(who), found[0].mime_type, found[0].nbytes, await found[0].get_image_bytes() == picture])
    card = await cards.get_vcard(romeo.bare)
    say(photo=card.get_photo_data() == picture)
    seen = juliet[aioxmpp.PresenceClient]
    await until(lambda: seen.get_stanza(romeo.jid).xep0153_x and seen.get_stanza(romeo.jid).xep0153_x.photo)
    say(hash=seen.get_stanza(romeo.jid).xep0153_x.photo == image.png_id)
    # The other way round: a picture in the card is an avatar as well.
    mine = await romeo[aioxmpp.vcard.VCardService].get_vcard()
    mine.set_photo_data('image/png', picture + b'of another kind')
    name = etree.SubElement(etree.Element('{vcard-temp}vCard'), '{vcard-temp}FN')
    name.text = 'Romeo Montague'
    mine.elements.append(name)
    changed = once(watch.on_metadata_changed)
    await romeo[aioxmpp.vcard.VCardService].set_vcard(mine)
    _, found = await soon(changed)
    say(converted=await found[0].get_image_bytes() == picture + b'of another kind')
    card = await cards.get_vcard(romeo.bare)
    say(name=[one.text for one in card.elements if one.tag == '{vcard-temp}FN'])
    say(theirs=await condition(cards.set_vcard(card, romeo.bare)))
    changed = once(watch.on_metadata_changed)
    await romeo[aioxmpp.AvatarService].disable_avatar()
    say(disabled=len((await soon(changed))[1]), bare=(await cards.get_vcard(romeo.bare)).get_photo_data())


async def storage(romeo):
    private = romeo[aioxmpp.private_xml.PrivateXMLService]
    notes = Notes()
    say(empty=(await private.get_private_xml(Notes())).registered_payload.note)
    notes.note = 'buy <poison> & leave'
    await private.set_private_xml(notes)
    say(private=(await private.get_private_xml(Notes())).registered_payload.note)
    bookmarks = romeo[aioxmpp.BookmarkClient]
    room = jid('garden@rooms.test')
    await bookmarks.add_bookmark(Conference('Garden', room, autojoin=True, nick='Ro'))
    await bookmarks.add_bookmark(Conference('Tomb', jid('tomb@rooms.test')))
    await bookmarks.update_bookmark(
        Conference('Garden', room, autojoin=True, nick='Ro'), Conference('Orchard', room, autojoin=True, nick='Ro'))
    await bookmarks.discard_bookmark(Conference('Tomb', jid('tomb@rooms.test')))
    kept = await bookmarks.get_bookmarks()
    say(bookmarks=[[str(one.jid), one.name, one.autojoin, one.nick] for one in kept])
    items = (await romeo[aioxmpp.PubSubClient].get_items(None, 'urn:xmpp:bookmarks:1')).payload.items
    say(native=[[item.id_, item.unregistered_payload[0].get('name')] for item in items])


async def main():
    services = (aioxmpp.RosterClient, aioxmpp.PresenceClient, aioxmpp.EntityCapsService, aioxmpp.PEPClient,
                aioxmpp.AvatarService, aioxmpp.BookmarkClient)
    romeo, juliet = (Person(f'{name}@hub.test/here', *services) for name in ('romeo', 'juliet'))
    nurse = Person('nurse@hub.test/house')
    tuned = romeo[aioxmpp.DiscoServer]
    tuned.register_feature(tunes)
    await people(romeo, juliet, nurse)
    await befriend(romeo, juliet)
    await until(lambda: juliet[aioxmpp.PresenceClient].get_stanza(romeo.jid))
    await discovery(romeo, juliet)
    tuned.unregister_feature(tunes)
    await eventing(romeo, juliet, nurse)
    await nodes(romeo, juliet)
    await pictures(romeo, juliet)
    await storage(romeo)
    for person in (romeo, juliet, nurse):
        await person.offline()


run(main)
