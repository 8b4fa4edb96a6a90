"""aioxmpp streams log in by SASL2 with Bind 2, by a token, and into a session that they lost; prints what they saw."""
import asyncio
import base64
import hmac
import logging
import uuid

import aiosasl
import aioxmpp
from aioxmpp import nonza, protocol, xso
from aioxmpp.connector import XMPPOverTLSConnector
from lxml import etree
from person import Exporter, Scram, security
from script import run, say, setup

sasl, bind, fast, sm = 'urn:xmpp:sasl:2', 'urn:xmpp:bind:0', 'urn:xmpp:fast:0', 'urn:xmpp:sm:3'
agent = str(uuid.uuid4())


def element(name, **attributes):
    body = {'TAG': (sasl, name), 'rest': xso.Collector()}
    body.update((attribute, xso.Attr(attribute, default=None)) for attribute in attributes)
    return type(xso.XSO)(name, (xso.XSO,), body)


Authentication = nonza.StreamFeatures.as_feature_class(element('authentication'))
Authenticate = element('authenticate', mechanism=True)
Success, Failure = element('success'), element('failure')


class Spoken(xso.XSO):
    payload = xso.Text(type_=xso.Base64Binary(), default=None)


class Response(Spoken):
    TAG = (sasl, 'response')


class Challenge(Spoken):
    TAG = (sasl, 'challenge')


class Login(aiosasl.SASLInterface):
    """One connection that authenticates; what is asked for in the same breath stands in `inline`."""

    @classmethod
    async def connect(cls, *inline):
        login = cls()
        login.inline = [f"<user-agent xmlns='{sasl}' id='{agent}'><software>aioxmpp</software></user-agent>", *inline]
        login.transport, login.stream, features = await XMPPOverTLSConnector().connect(
            asyncio.get_event_loop(), security(Scram(login, '')), 'hub.test', setup['host'], setup['direct'], 15,
            logging.getLogger('login'))
        login.offer = features[Authentication]
        login.features = asyncio.Queue()
        login.stream.stanza_parser.remove_class(nonza.StreamFeatures)
        login.stream.stanza_parser.add_class(nonza.StreamFeatures, login.features.put_nowait)
        return login

    def offers(self, path):
        return [one.text or one.get('var') for tree in self.offer.rest for one in tree.iterfind(path)]

    async def exchange(self, message):
        answer = await protocol.send_and_wait_for(self.stream, [message], [Challenge, Success, Failure], timeout=15)
        if isinstance(answer, Challenge):
            return 'challenge', answer.payload
        if isinstance(answer, Failure):
            raise aiosasl.SASLFailure(etree.QName(answer.rest[0]).localname)
        self.success = {etree.QName(one).localname: one for one in answer.rest}
        said = self.success.get('additional-data')
        return 'success', said is not None and base64.b64decode(said.text) or None

    async def initiate(self, mechanism, payload=None):
        message = Authenticate()
        message.mechanism = mechanism
        initial = f"<initial-response xmlns='{sasl}'>{base64.b64encode(payload).decode()}</initial-response>"
        message.rest.extend(etree.fromstring(text) for text in (initial, *self.inline))
        return await self.exchange(message)

    async def respond(self, payload):
        message = Response()
        message.payload = payload
        return await self.exchange(message)

    async def abort(self):
        raise NotImplementedError

    async def scram(self, plus):
        async def credentials():
            return 'juliet', setup['password']
        kind = aiosasl.SCRAMPLUS if plus else aiosasl.SCRAM
        mechanism = kind(credentials, Exporter(self.transport)) if plus else kind(credentials)
        await mechanism.authenticate(aiosasl.SASLStateMachine(self), kind.any_supported(self.offered))
        return self.success

    @property
    def offered(self):
        return [one.text for one in self.offer.rest if one.tag == f'{{{sasl}}}mechanism']

    async def token(self, token):
        """One message, one answer; tells whether the answer proves that the server has the token as well."""
        data = Exporter(self.transport).extract_cb_data()

        def proof(who):
            return hmac.new(token.encode(), who + data, 'sha256').digest()
        state, answer = await self.initiate('HT-SHA-256-EXPR', b'juliet\0' + proof(b'Initiator'))
        return state == 'success' and answer == proof(b'Responder')

    async def ping(self):
        asked = aioxmpp.IQ(type_=aioxmpp.IQType.GET, to=aioxmpp.JID.fromstr('hub.test'), payload=aioxmpp.ping.xso.Ping())
        asked.autoset_id()
        return (await protocol.send_and_wait_for(self.stream, [asked], [aioxmpp.IQ], timeout=15)).type_.value


def text(success, name):
    return success[name].text


async def main():
    login = await Login.connect()
    say(mechanisms=login.offered, tokens=login.offers(f'.//{{{fast}}}mechanism'),
        inline=sorted(login.offers(f'.//{{{bind}}}feature')))
    success = await login.scram(plus=False)
    say(bare=text(success, 'authorization-identifier'))
    login.transport.abort()

    login = await Login.connect(
        f"<bind xmlns='{bind}'><tag>Desk</tag><enable xmlns='urn:xmpp:carbons:2'/>"
        f"<enable xmlns='{sm}' resume='true'/></bind>",
        f"<request-token xmlns='{fast}' mechanism='HT-SHA-256-EXPR'/>")
    success = await login.scram(plus=True)
    enabled = success['bound'].find(f'{{{sm}}}enabled')
    address, token = text(success, 'authorization-identifier'), success['token'].get('token')
    say(bound=address.startswith('juliet@hub.test/Desk'), resumable=enabled.get('resume'), features=bool(
        await asyncio.wait_for(login.features.get(), 15)), pong=await login.ping())
    login.transport.abort()

    resume = f"<resume xmlns='{sm}' previd='{enabled.get('id')}' h='1'/>"
    login = await Login.connect(f"<fast xmlns='{fast}'/>", resume)
    say(proved=await login.token(token), same=text(login.success, 'authorization-identifier') == address,
        resumed=login.success['resumed'].get('h'), alive=await login.ping())
    login.transport.abort()

    login = await Login.connect(f"<fast xmlns='{fast}' invalidate='true'/>", f"<bind xmlns='{bind}'/>")
    say(again=await login.token(token))
    login.transport.abort()
    login = await Login.connect(f"<fast xmlns='{fast}'/>", f"<bind xmlns='{bind}'/>")
    try:
        await login.token(token)
    except aiosasl.SASLFailure as error:
        say(invalid=error.opaque_error)
    login.transport.abort()


run(main)
