"""Payloads that aioxmpp has no classes for."""
import aioxmpp
from aioxmpp import xso
from aioxmpp.forms import Data, DataType, Field, FieldType
from aioxmpp.misc import Forwarded
from aioxmpp.rsm.xso import ResultSetMetadata

mam = 'urn:xmpp:mam:2'


def payload(namespace, name, *attributes, **children):
    """A class of IQ payloads with these attributes and children; what else is in them stands in `rest`, as trees."""
    body = {'TAG': (namespace, name), 'rest': xso.Collector(), **children}
    body.update((attribute, xso.Attr(attribute, default=None)) for attribute in attributes)
    return aioxmpp.IQ.as_payload_class(type(xso.XSO)(name, (xso.XSO,), body))


def made(kind, **content):
    """An element of this class with this content."""
    one = kind()
    if 'rest' in content:
        one.rest.append(content.pop('rest'))
    for name, value in content.items():
        setattr(one, name, value)
    return one


def form(kind, **fields):
    """A form that is submitted: fields by their names."""
    data = Data(type_=DataType.SUBMIT)
    data.fields.append(Field(type_=FieldType.HIDDEN, var='FORM_TYPE', values=[kind]))
    for name, value in fields.items():
        data.fields.append(Field(var=name, values=[value]))
    return data


Query = payload(mam, 'query', form=xso.Child([Data]), page=xso.Child([ResultSetMetadata]))
Fin = payload(mam, 'fin', 'complete', page=xso.Child([ResultSetMetadata]))
Preferences = payload(mam, 'prefs', 'default')
Search = payload('jabber:iq:search', 'query', form=xso.Child([Data]))


class Result(xso.XSO):
    TAG = (mam, 'result')
    id_ = xso.Attr('id')
    forwarded = xso.Child([Forwarded])


aioxmpp.Message.archived = xso.Child([Result])
