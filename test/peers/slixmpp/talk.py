"""Two slixmpp clients log in, one over STARTTLS and one over direct TLS, and talk; prints what each of them saw."""
from person import Person, people
from script import run, say, soon

plugins = ('xep_0198', 'xep_0199')


async def main():
    romeo, juliet = Person('romeo@hub.test', plugins), Person('juliet@hub.test', plugins, direct=True)
    await people(romeo, juliet)
    romeo.send_message(mto='juliet@hub.test', mbody='from slixmpp 爱', mtype='chat')
    say(juliet=(await soon(juliet.heard.get()))['body'])
    juliet.send_message(mto='romeo@hub.test', mbody='back again', mtype='chat')
    say(romeo=(await soon(romeo.heard.get()))['body'])
    say(ping=await romeo['xep_0199'].ping('hub.test', timeout=5) >= 0)
    for person in (romeo, juliet):
        person.disconnect()


run(main)
