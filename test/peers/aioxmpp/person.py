"""A user with an aioxmpp client: TLS that is verified, SCRAM, and a connection that can be cut."""
import asyncio
import socket

import aiosasl
import aioxmpp
from aioxmpp.connector import STARTTLSConnector, XMPPOverTLSConnector
from script import setup, soon, until

jid = aioxmpp.JID.fromstr
domain = jid('hub.test')


def context():
    context = aioxmpp.security_layer.default_ssl_context()
    context.load_verify_locations(setup['ca'])
    return context


class Exporter(aiosasl.channel_binding.ChannelBindingProvider):
    """RFC 9266, which the library does not have itself."""
    cb_name = b'tls-exporter'

    def __init__(self, transport):
        self.connection = transport.get_extra_info('ssl_object')

    def extract_cb_data(self):
        return self.connection.export_keying_material(b'EXPORTER-Channel-Binding', 32, b'')


class Scram(aioxmpp.security_layer.PasswordSASLProvider):
    """Only SCRAM; notes which of it was used."""

    def __init__(self, person, password):
        async def provide(*_):
            return password
        super().__init__(provide, max_auth_attempts=1)
        self.person = person

    def _find_supported(self, features, _):
        found = super()._find_supported(features, [aiosasl.SCRAM])
        self.person.mechanism = found[1] and found[1][0]
        return found


def security(provider):
    return aioxmpp.security_layer.SecurityLayer(
        context, aioxmpp.security_layer.PKIXCertificateVerifier, True, (provider,))


class Person:
    def __init__(self, address, *services, password=setup['password'], direct=False, provider=None):
        self.mechanism = None
        peer = (setup['host'], setup['direct'], XMPPOverTLSConnector()) if direct else \
            (setup['host'], setup['starttls'], STARTTLSConnector())
        self.client = aioxmpp.PresenceManagedClient(
            jid(address), security((provider or Scram)(self, password)), override_peer=[peer])
        self.client.backoff_start = aioxmpp.node.timedelta(milliseconds=50)
        self.heard = asyncio.Queue()
        for service in services:
            self.client.summon(service)
        messages = self.client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        for kind in (aioxmpp.MessageType.CHAT, aioxmpp.MessageType.NORMAL, aioxmpp.MessageType.HEADLINE,
                     aioxmpp.MessageType.ERROR):
            messages.register_callback(kind, None, self.heard.put_nowait)

    def __getitem__(self, service):
        return self.client.summon(service)

    @property
    def jid(self):
        return self.client.local_jid

    @property
    def bare(self):
        return self.jid.bare()

    async def online(self):
        """Connects; resolves when the presence is sent."""
        ready = once(self.client.on_presence_sent)
        failed = once(self.client.on_failure)
        self.client.presence = aioxmpp.PresenceState(True)
        await soon(asyncio.wait({ready, failed}, return_when=asyncio.FIRST_COMPLETED))
        if failed.done():
            raise failed.result()
        return self

    async def offline(self):
        stopped = once(self.client.on_stopped)
        self.client.stop()
        await soon(stopped)

    def cut(self):
        """Ends the connection below the stream, as a lost network does."""
        self.client.stream._xmlstream.transport.get_extra_info('socket').shutdown(socket.SHUT_RDWR)

    async def ask(self, kind, payload, to=None):
        return await soon(self.client.send(aioxmpp.IQ(type_=aioxmpp.IQType[kind], to=to, payload=payload)))

    def write(self, to, text=None, kind='CHAT', **more):
        message = aioxmpp.Message(type_=aioxmpp.MessageType[kind], to=to)
        if text is not None:
            message.body[None] = text
        for name, value in more.items():
            setattr(message, name, value)
        return self.client.enqueue(message)

    async def hears(self, text=None, that=lambda _: True):
        """The next message with this body, or any, of which `that` is true."""
        while True:
            message = await soon(self.heard.get())
            body = message.body.any() if message.body else None
            if text in (None, body) and that(message):
                return message


def once(signal):
    """A future of what a service's signal says next: one thing, or several."""
    future = asyncio.get_event_loop().create_future()

    def fired(*what, **_):
        if not future.done():
            future.set_result(what[0] if len(what) == 1 else what)
        return True
    signal.connect(fired)
    return future


async def condition(action):
    """The condition with which an action is refused."""
    try:
        await soon(action)
    except aioxmpp.errors.XMPPError as error:
        return error.condition.value[1]
    return None


def people(*all):
    return asyncio.gather(*(person.online() for person in all))


async def befriend(one, other):
    """Subscribes both to each other, through the whole exchange of RFC 6121 §3.1."""
    roster = [person[aioxmpp.RosterClient] for person in (one, other)]
    asked, answered = (once(mine.on_subscribe) for mine in reversed(roster))
    roster[0].subscribe(other.bare)
    await soon(asked)
    roster[1].approve(one.bare)
    roster[1].subscribe(one.bare)
    await soon(answered)
    roster[0].approve(other.bare)
    for mine, theirs in ((roster[0], other), (roster[1], one)):
        await until(lambda: theirs.bare in mine.items and mine.items[theirs.bare].subscription == 'both')
