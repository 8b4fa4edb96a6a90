"""aioxmpp clients ask a domain for what it offers as a service, register, and run commands; prints what each saw."""
import asyncio
import datetime
import logging

import aioxmpp
from aioxmpp import adhoc, forms, ibr
from aioxmpp.connector import STARTTLSConnector
from elements import Search, form, made, payload
from person import Person, Scram, condition, domain, once, people, security
from script import run, say, setup, soon

admin = 'http://jabber.org/protocol/admin'
Time = payload('urn:xmpp:time', 'time')
Last = payload('jabber:iq:last', 'query', 'seconds')
Services = payload('urn:xmpp:extdisco:2', 'services')


async def register(name, password):
    """Makes an account before anybody has logged in; gives the fields that are asked for, and how it went."""
    transport, stream, features = await STARTTLSConnector().connect(
        asyncio.get_event_loop(), security(Scram(Person, password)), 'hub.test', setup['host'], setup['starttls'], 15,
        logging.getLogger('registration'))
    fields = ibr.get_used_fields(await ibr.get_registration_fields(stream))
    asked = aioxmpp.IQ(type_=aioxmpp.IQType.SET, to=domain, payload=ibr.Query(name, password))
    asked.autoset_id()
    answer = await aioxmpp.protocol.send_and_wait_for(stream, [asked], [aioxmpp.IQ], timeout=15)
    stream.close()
    return sorted(tag[1] for tag in fields), answer.error and answer.error.condition.value[1]


async def registration():
    say(fields=(await register('nurse', 'hers'))[0], taken=(await register('nurse', 'other'))[1])
    nurse = await Person('nurse@hub.test/house', password='hers').online()
    mine = await nurse[ibr.RegistrationService].get_client_info()
    say(registered=[mine.registered, mine.username])
    await nurse[ibr.RegistrationService].change_pass('changed')
    await nurse.offline()
    nurse = await Person('nurse@hub.test/house', password='changed').online()
    gone = once(nurse.client.on_failure)
    ended = once(nurse.client.on_stream_destroyed)
    try:
        await nurse[ibr.RegistrationService].cancel_registration()
    except ConnectionError:
        pass
    await soon(asyncio.wait({gone, ended}, return_when=asyncio.FIRST_COMPLETED))
    nurse.client.stop()
    try:
        await Person('nurse@hub.test/house', password='changed').online()
    except Exception as error:
        say(cancelled=error.opaque_error)


async def questions(bard):
    version = await aioxmpp.version.query_version(bard.client.stream, domain)
    say(version=[version.name, bool(version.version)])
    await bard[aioxmpp.PingService].ping(domain)
    await bard[aioxmpp.PingService].ping(bard.bare)
    time = {one.tag.split('}')[1]: one.text for one in (await bard.ask('GET', Time(), domain)).rest}
    say(time=abs(datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(
        time['utc'].replace('Z', '+00:00'))) < datetime.timedelta(minutes=2), zone=time['tzo'])
    say(uptime=int((await bard.ask('GET', Last(), domain)).seconds) < 120)
    say(services=sorted([one.get('type'), one.get('host')] for one in (await bard.ask('GET', Services(), domain)).rest))


async def command(person, name, **answers):
    """Goes through an administrative command; gives its last answer."""
    session = await person[aioxmpp.AdHocClient].execute(domain, f'{admin}#{name}')
    if session.status == adhoc.CommandStatus.EXECUTING:
        data = session.first_payload
        reply = forms.Data(type_=forms.DataType.SUBMIT)
        for field in data.fields:
            values = answers.get(field.var, field.values)
            values = values if isinstance(values, list) else [values]
            reply.fields.append(forms.Field(type_=field.type_, var=field.var, values=values))
        await session.proceed(action=adhoc.ActionType.COMPLETE if adhoc.ActionType.COMPLETE in session.allowed_actions
                              else adhoc.ActionType.EXECUTE, payload=reply)
    return session


def shown(session):
    return {field.var: list(field.values) for field in session.first_payload.fields if field.var != 'FORM_TYPE'}


async def administration(bard, juliet):
    client = bard[aioxmpp.AdHocClient]
    say(offers=await client.supports_commands(domain))
    say(commands=sorted(item.node.split('#')[1] for item in await client.get_commands(domain)))
    info = await client.get_command_info(domain, f'{admin}#add-user')
    say(info=sorted(f'{one.category}/{one.type_}' for one in info.identities), form='jabber:x:data' in info.features)
    added = await command(bard, 'add-user', accountjid='tybalt@hub.test', password='his', **{'password-verify': 'his'})
    say(added=added.status.value)
    tybalt = await Person('tybalt@hub.test/street', password='his').online()
    say(online=shown(await command(bard, 'get-online-users-num')))
    await command(bard, 'announce', announcement=['Hear ye', 'hear ye'])
    say(heard=(await tybalt.hears(that=lambda message: message.body)).body.any())
    ended = once(tybalt.client.on_failure), once(tybalt.client.on_stream_destroyed)
    await command(bard, 'end-user-session', accountjids=['tybalt@hub.test'])
    await soon(asyncio.wait(set(ended), return_when=asyncio.FIRST_COMPLETED))
    tybalt.client.stop()
    session = await client.execute(domain, f'{admin}#delete-user')
    await session.close()
    say(forbidden=await condition(juliet[aioxmpp.AdHocClient].execute(domain, f'{admin}#add-user')))
    say(others=len(await juliet[aioxmpp.AdHocClient].get_commands(domain)))


async def commands(bard, juliet):
    """One client runs what another offers."""
    async def answer(stanza):
        note = adhoc.xso.Note(adhoc.xso.NoteType.INFO, f'for {stanza.from_.localpart}')
        return adhoc.xso.Command(stanza.payload.node, status=adhoc.CommandStatus.COMPLETED, notes=[note])
    juliet[aioxmpp.AdHocServer].register_stateless_command('wave', 'Wave', answer)
    client = bard[aioxmpp.AdHocClient]
    say(offered=[item.node for item in await client.get_commands(juliet.jid)])
    session = await client.execute(juliet.jid, 'wave')
    say(ran=[session.status.value, session.response.notes[0].body])


async def search(bard, juliet):
    asked = await bard.ask('GET', Search(), domain)
    say(asks=sorted(field.var for field in asked.form.fields if field.var != 'FORM_TYPE'))
    found = await bard.ask('SET', made(Search, form=form('jabber:iq:search', nick='juliet')), domain)
    say(found=[[one.values[0] for one in item.fields if one.var == 'jid'] for item in found.form.items])


async def headers(bard, juliet):
    message = aioxmpp.Message(type_=aioxmpp.MessageType.NORMAL, to=juliet.jid)
    message.body[None] = 'with headers'
    message.subject[None] = 'A subject'
    message.xep0131_headers = aioxmpp.shim.xso.Headers()
    message.xep0131_headers.headers.add('Urgency', 'high')
    bard.client.enqueue(message)
    heard = await juliet.hears('with headers')
    say(headers=[heard.subject.any(), heard.xep0131_headers.headers['Urgency']])


async def main():
    await registration()
    services = (aioxmpp.AdHocClient, aioxmpp.PingService, aioxmpp.shim.SHIMService)
    bard = Person('bard@hub.test/globe', *services)
    juliet = Person('juliet@hub.test/balcony', aioxmpp.AdHocServer, aioxmpp.VersionServer, *services)
    juliet[aioxmpp.VersionServer].name = 'Nightingale'
    await people(bard, juliet)
    await questions(bard)
    say(client=(await aioxmpp.version.query_version(bard.client.stream, juliet.jid)).name)
    await administration(bard, juliet)
    await commands(bard, juliet)
    await search(bard, juliet)
    await headers(bard, juliet)
    for person in (bard, juliet):
        await person.offline()


run(main)
