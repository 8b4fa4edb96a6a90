"""aioxmpp clients log in, keep rosters, watch each other's presence and talk; prints what each of them saw."""
import aiosasl
import aioxmpp
from aioxmpp.chatstates import ChatState
from aioxmpp.misc import DisplayedMarker
from person import Exporter, Person, Scram, befriend, condition, domain, jid, once, people
from script import run, say, soon, until


class ScramPlus(Scram):
    """SCRAM that is bound to the channel."""

    def _find_supported(self, features, _):
        found = aioxmpp.security_layer.SASLProvider._find_supported(self, features, [aiosasl.SCRAMPLUS])
        self.person.mechanism = found[1][0]
        return lambda credentials: aiosasl.SCRAMPLUS(credentials, Exporter(self.transport)), found[1]

    async def execute(self, client, features, stream, transport):
        self.transport = transport
        return await super().execute(client, features, stream, transport)


async def login():
    bound = await Person('romeo@hub.test/bound', provider=ScramPlus, direct=True).online()
    say(bound=bound.mechanism)
    await bound.offline()
    try:
        await Person('romeo@hub.test/wrong', password='wrong').online()
    except aiosasl.AuthenticationFailure as error:
        say(wrong=error.opaque_error)


async def rosters(romeo, juliet, phone):
    roster, other = juliet[aioxmpp.RosterClient], phone[aioxmpp.RosterClient]
    added = once(other.on_entry_added)
    await roster.set_entry(romeo.bare, name='My Romeo', add_to_groups={'Loves', 'Verona'})
    await soon(added)
    entry = other.items[romeo.bare]
    say(pushed=[entry.name, sorted(entry.groups), entry.subscription])
    await roster.set_entry(romeo.bare, remove_from_groups={'Verona'})
    await until(lambda: romeo.bare in roster.items and roster.items[romeo.bare].groups == {'Loves'})
    await befriend(romeo, juliet)
    say(subscription=roster.items[romeo.bare].subscription, kept=[roster.items[romeo.bare].name, list(roster.groups)])
    removed = once(other.on_entry_removed)
    await roster.set_entry(jid('nurse@hub.test'), name='Nurse')
    await roster.remove_entry(jid('nurse@hub.test'))
    say(removed=str((await soon(removed)).jid))
    say(unknown=await condition(roster.remove_entry(jid('nobody@hub.test'))))


async def approval(juliet):
    """Who was approved before asking gets in at once, while nobody is asked."""
    nurse = await Person('nurse@hub.test/house', aioxmpp.RosterClient, aioxmpp.PresenceClient).online()
    asked = once(juliet[aioxmpp.RosterClient].on_subscribe)
    juliet[aioxmpp.RosterClient].approve(nurse.bare)
    await juliet[aioxmpp.ping.PingService].ping(domain)
    subscribed = once(nurse[aioxmpp.RosterClient].on_subscribed)
    nurse[aioxmpp.RosterClient].subscribe(juliet.bare)
    say(approved=str((await soon(subscribed)).from_))
    await until(lambda: nurse[aioxmpp.PresenceClient].get_stanza(juliet.jid))
    gone = once(nurse[aioxmpp.PresenceClient].on_bare_unavailable)
    await juliet[aioxmpp.RosterClient].remove_entry(nurse.bare)
    say(dropped=str((await soon(gone)).from_.bare()), unasked=not asked.done())
    await nurse.offline()


async def versions(juliet):
    """A client that comes back with its roster is told only what is new."""
    roster = juliet[aioxmpp.RosterClient]
    # A short roster would be sent whole.
    for n in range(20):
        await roster.set_entry(jid(f'cousin{n}@hub.test'), name='Cousin')
    known = roster.export_as_json()
    await roster.set_entry(jid('friar@hub.test'), name='Friar')
    again = Person('juliet@hub.test/again', aioxmpp.RosterClient)
    again[aioxmpp.RosterClient].import_from_json(known)
    lost = once(again[aioxmpp.RosterClient].on_entry_removed)
    # An entry that only the client has shows whether it was sent a whole roster or a difference.
    mark = jid('only@here.test')
    again[aioxmpp.RosterClient].items[mark] = aioxmpp.roster.Item(mark)
    added = once(again[aioxmpp.RosterClient].on_entry_added)
    await again.online()
    say(version=bool(known['ver']), later=(await soon(added)).name, difference=not lost.done())
    await again.offline()


async def presences(romeo, juliet):
    watched = juliet[aioxmpp.PresenceClient]
    changed = once(watched.on_changed)
    away = aioxmpp.Presence(type_=aioxmpp.PresenceType.AVAILABLE, show=aioxmpp.PresenceShow.AWAY)
    away.status[None] = 'in the orchard'
    # (Its PresenceServer forgets the priority.)
    away.priority = 7
    romeo.client.enqueue(away)
    full, stanza = await soon(changed)
    say(presence=[str(full), stanza.show.value, stanza.status.any(), stanza.priority])
    gone = once(watched.on_bare_unavailable)
    tower = await Person('romeo@hub.test/tower', aioxmpp.RosterClient).online()
    await until(lambda: len(watched.get_peer_resources(romeo.bare)) == 2)
    await tower.offline()
    await until(lambda: len(watched.get_peer_resources(romeo.bare)) == 1)
    say(early=gone.done())
    # A stranger sees only what is sent to her alone, and its end.
    nurse = await Person('nurse@hub.test/house', aioxmpp.PresenceClient).online()
    came = once(nurse[aioxmpp.PresenceClient].on_available)
    romeo.client.enqueue(aioxmpp.Presence(type_=aioxmpp.PresenceType.AVAILABLE, to=nurse.jid))
    await soon(came)
    left = once(nurse[aioxmpp.PresenceClient].on_unavailable)
    await romeo.offline()
    say(directed=str((await soon(left))[0]), gone=str((await soon(gone)).from_))
    await romeo.online()
    await nurse.offline()


async def chats(romeo, juliet):
    receipts = romeo[aioxmpp.DeliveryReceiptsService]
    message = aioxmpp.Message(type_=aioxmpp.MessageType.CHAT, to=juliet.jid)
    message.body.update({None: 'But, soft!', aioxmpp.structs.LanguageTag.fromstr('it'): 'Ma piano! 爱'})
    message.xep0085_chatstate = ChatState.ACTIVE
    message.xep0333_markable = True
    message.autoset_id()
    tracker = receipts.attach_tracker(message)
    romeo.client.enqueue(message)
    heard = await juliet.hears(that=lambda message: message.xep0333_markable)
    say(body=sorted(heard.body.values()), state=heard.xep0085_chatstate.name, asked=heard.xep0184_request_receipt)
    receipt = aioxmpp.mdr.compose_receipt(heard)
    # The library expects receipts from the address that it wrote to.
    receipt.to = heard.from_
    juliet.client.enqueue(receipt)
    await until(lambda: tracker.state == aioxmpp.tracking.MessageState.DELIVERED_TO_RECIPIENT)
    marker = DisplayedMarker()
    marker.id_ = heard.id_
    juliet.write(romeo.jid, xep0333_marker=marker)
    marked = await romeo.hears(that=lambda message: message.xep0333_marker is not None)
    say(displayed=marked.xep0333_marker.id_ == message.id_)
    juliet.write(romeo.jid, xep0085_chatstate=ChatState.COMPOSING)
    say(composing=(await romeo.hears(that=lambda message: message.xep0085_chatstate)).xep0085_chatstate.name)
    romeo.write(jid('nobody@hub.test'), 'is anybody there?')
    error = await romeo.hears(that=lambda message: message.type_ == aioxmpp.MessageType.ERROR)
    say(bounced=error.error.condition.value[1])


async def offline(romeo):
    """What came while nobody was there waits with its time."""
    romeo.write(jid('nurse@hub.test'), 'for later')
    await romeo[aioxmpp.ping.PingService].ping(domain)
    nurse = await Person('nurse@hub.test/house').online()
    kept = await nurse.hears('for later')
    say(delayed=[bool(kept.xep0203_delay), str(kept.xep0203_delay[0].from_)])
    await nurse.offline()


async def main():
    await login()
    services = (aioxmpp.RosterClient, aioxmpp.PresenceClient, aioxmpp.DeliveryReceiptsService, aioxmpp.ping.PingService)
    romeo = Person('romeo@hub.test/orchard', *services)
    juliet = Person('juliet@hub.test/balcony', *services, direct=True)
    phone = Person('juliet@hub.test/phone', *services)
    await people(romeo, juliet, phone)
    say(mechanisms=[romeo.mechanism, juliet.mechanism])
    await rosters(romeo, juliet, phone)
    await approval(juliet)
    await versions(juliet)
    await presences(romeo, juliet)
    await chats(romeo, juliet)
    await offline(romeo)
    for person in (romeo, juliet, phone):
        await person.offline()


run(main)
