"""aioxmpp clients use what the hub has for many devices: carbons, blocking, archive, client state, resumption."""
import aioxmpp
from aioxmpp import xso
from aioxmpp.chatstates import ChatState
from aioxmpp.misc import DisplayedMarker
from aioxmpp.rsm.xso import ResultSetMetadata
from elements import Preferences, Query, form, made, mam
from lxml import etree
from person import Person, befriend, condition, domain, jid, once, people
from script import run, say, soon


class Inactive(xso.XSO):
    TAG = ('urn:xmpp:csi:0', 'inactive')


class Active(xso.XSO):
    TAG = ('urn:xmpp:csi:0', 'active')


def copied(message):
    return message.xep0280_sent or message.xep0280_received


async def carbons(romeo, desk, phone):
    await phone[aioxmpp.CarbonsClient].enable()
    desk.write(romeo.jid, 'from the desk', xep0085_chatstate=ChatState.ACTIVE)
    copy = await phone.hears(that=copied)
    sent = copy.xep0280_sent.stanza
    say(sent=[str(copy.from_), str(sent.to), sent.body.any(), sent.xep0085_chatstate.name])
    romeo.write(desk.jid, 'to the desk')
    received = (await phone.hears(that=copied)).xep0280_received.stanza
    say(received=[str(received.from_), received.body.any(), len(received.xep0359_stanza_ids)])
    # What one device has shown, the others need not ring for.
    marker = DisplayedMarker()
    marker.id_ = 'the-message'
    desk.write(romeo.jid, xep0333_marker=marker)
    say(marked=(await phone.hears(that=copied)).xep0280_sent.stanza.xep0333_marker.id_)
    # Only messages of people are copied, and none after it said so.
    desk.write(romeo.jid, 'a headline', kind='HEADLINE')
    await phone[aioxmpp.CarbonsClient].disable()
    desk.write(romeo.jid, 'without copies')
    await desk[aioxmpp.ping.PingService].ping(domain)
    await phone[aioxmpp.ping.PingService].ping(domain)
    say(copies=sum(bool(copied(phone.heard.get_nowait())) for _ in range(phone.heard.qsize())))


async def blocking(romeo, desk, phone):
    mine, other = desk[aioxmpp.BlockingClient], phone[aioxmpp.BlockingClient]
    pushed = once(other.on_jids_blocked)
    left = once(romeo[aioxmpp.PresenceClient].on_bare_unavailable)
    await mine.block_jids([romeo.bare, jid('spam.test')])
    say(blocked=sorted(str(one) for one in await soon(pushed)), left=str((await soon(left)).from_.bare()))
    say(refused=await condition(romeo[aioxmpp.ping.PingService].ping(desk.jid)))
    desk.write(romeo.jid, 'you are blocked')
    bounced = await desk.hears(that=lambda message: message.type_ == aioxmpp.MessageType.ERROR)
    say(own=bounced.error.condition.value[1])
    third = await Person('juliet@hub.test/tablet', aioxmpp.BlockingClient).online()
    say(list=sorted(str(one) for one in third[aioxmpp.BlockingClient].blocklist))
    await third.offline()
    unblocked, back = once(other.on_jids_unblocked), once(romeo[aioxmpp.PresenceClient].on_bare_available)
    await mine.unblock_all()
    say(unblocked=len(await soon(unblocked)), back=str((await soon(back)).from_.bare()))


async def archive(romeo, desk):
    for number in range(7):
        romeo.write(desk.jid, f'line {number}')
    for number in range(7):
        await desk.hears(f'line {number}')

    async def read(page, **fields):
        fin = await desk.ask('SET', made(Query, form=form(mam, **fields), page=page))
        found = [desk.heard.get_nowait().archived for _ in range(desk.heard.qsize())]
        return [one.forwarded.stanza.body.any() for one in found if one], fin, found

    lines, fin, found = await read(ResultSetMetadata.last_page(3), **{'with': 'romeo@hub.test'})
    say(end=lines, complete=fin.complete, stamped=found[0].forwarded.delay is not None)
    lines, fin, _ = await read(fin.page.previous_page(max_=3), **{'with': 'romeo@hub.test'})
    say(before=lines)
    lines, fin, _ = await read(fin.page.next_page(max_=2), **{'with': 'romeo@hub.test'})
    say(next=lines, first=fin.page.first.value is not None)
    lines, fin, _ = await read(ResultSetMetadata.limit(0), start='2999-01-01T00:00:00Z')
    say(none=[lines, fin.complete, fin.page.count])
    query = made(Query, form=form(mam), page=ResultSetMetadata.limit(1))
    say(foreign=await condition(desk.ask('SET', query, romeo.bare)))
    lost = made(Query, form=form(mam), page=fin.page.limit(1))
    lost.page.after = aioxmpp.rsm.xso.After('nothing-like-it')
    say(lost=await condition(desk.ask('SET', lost)))

    never = etree.fromstring(f"<never xmlns='{mam}'><jid>nurse@hub.test</jid></never>")
    await desk.ask('SET', made(Preferences, default='roster', rest=never))
    kept = await desk.ask('GET', Preferences())
    say(preferences=[kept.default, [''.join(one.itertext()) for one in kept.rest]])


async def states(romeo, phone):
    """While nobody looks, presence waits; the last of it comes when somebody does."""
    send = phone.client.stream._xmlstream.send_xso
    shown = []
    phone[aioxmpp.PresenceClient].on_changed.connect(lambda _, stanza: shown.append(stanza.show.value))
    send(Inactive())
    for show in ('AWAY', 'DND', 'XA'):
        romeo.client.enqueue(aioxmpp.Presence(
            type_=aioxmpp.PresenceType.AVAILABLE, show=aioxmpp.PresenceShow[show]))
    await romeo[aioxmpp.ping.PingService].ping(domain)
    send(Active())
    await phone[aioxmpp.ping.PingService].ping(domain)
    say(shown=shown)


async def resumption(romeo, juliet):
    await soon(juliet.client.send(aioxmpp.Message(type_=aioxmpp.MessageType.CHAT, to=romeo.jid)))
    say(acknowledged=len(juliet.client.stream.sm_unacked_list), longest=juliet.client.stream.sm_max)
    destroyed = once(juliet.client.on_stream_destroyed)
    left = once(romeo[aioxmpp.PresenceClient].on_bare_unavailable)
    for turn in ('once', 'twice'):
        lost, back = once(juliet.client.on_stream_suspended), once(juliet.client.on_stream_resumed)
        juliet.cut()
        await soon(lost)
        romeo.write(juliet.jid, f'gone {turn}')
        token = juliet.write(romeo.jid, f'said while gone {turn}')
        await soon(back)
        await juliet.hears(f'gone {turn}')
        await romeo.hears(f'said while gone {turn}')
        await soon(token)
    say(resumed=not destroyed.done(), stayed=not left.done())
    await juliet.offline()
    say(closed=str((await soon(left)).from_))


async def main():
    services = (aioxmpp.RosterClient, aioxmpp.PresenceClient, aioxmpp.BlockingClient, aioxmpp.ping.PingService)
    romeo = Person('romeo@hub.test/orchard', *services)
    desk = Person('juliet@hub.test/desk', *services)
    phone = Person('juliet@hub.test/phone', *services)
    await people(romeo, desk, phone)
    await befriend(romeo, desk)
    await carbons(romeo, desk, phone)
    await blocking(romeo, desk, phone)
    await archive(romeo, desk)
    await states(romeo, phone)
    await phone.offline()
    await resumption(romeo, desk)
    await romeo.offline()


run(main)
