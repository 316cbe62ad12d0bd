"""What a daemon never answers, as frames: every front end takes each for no answer at all."""

from __future__ import annotations


def nested(levels: int) -> bytes:
    """A reply whose values are so many levels deep, the reply's own two included."""
    deep = b"[" * (levels - 3) + b"]" * (levels - 3)
    return b'{"parameters":{"a":{"b":' + deep + b"}}}\0"


# name: a frame, as it is sent
NONSENSE = {
    "nothing": b"\0",
    "garbage": b"\xff\x00\x01garbage\0",
    "no object": b'["parameters"]\0',
    "a string": b'"allow"\0',
    "null": b"null\0",
    "half an object": b'{"parameters":{}\0',
    "something after it": b'{"parameters":{}}{}\0',
    "a comma too many": b'{"parameters":{"a":1,}}\0',
    "a comma before": b'{"parameters":{,"a":1}}\0',
    "doubled keys": b'{"parameters":{"verdict":"deny","verdict":"allow"}}\0',
    "doubled keys, one escaped": b'{"parameters":{"verdict":"deny","verdic\\u0074":"allow"}}\0',
    "doubled parameters": b'{"parameters":{"verdict":"deny"},"parameters":{"verdict":"allow"}}\0',
    "doubled null": b'{"parameters":{"a":null,"a":null}}\0',
    "NUL in a key": b'{"parameters":{"verdict\\u0000x":"allow"}}\0',
    "a lone surrogate": b'{"parameters":{"a":"\\ud800"}}\0',
    "a low surrogate first": b'{"parameters":{"a":"\\udc00\\ud800"}}\0',
    "a surrogate in UTF-8": b'{"parameters":{"a":"\xed\xa0\x80"}}\0',
    "overlong UTF-8": b'{"parameters":{"a":"\xc0\xaf"}}\0',
    "past Unicode": b'{"parameters":{"a":"\xf4\x90\x80\x80"}}\0',
    "a cut character": b'{"parameters":{"a":"\xe2\x82"}}\0',
    "a control in a string": b'{"parameters":{"a":"\x1b"}}\0',
    "an unknown escape": b'{"parameters":{"a":"\\x41"}}\0',
    "a short escape": b'{"parameters":{"a":"\\u12"}}\0',
    "an escape of the end": b'{"parameters":{"a":"\\"}}\0',
    "a float": b'{"parameters":{"a":1.0}}\0',
    "an exponent": b'{"parameters":{"a":1e3}}\0',
    "not a number": b'{"parameters":{"a":NaN}}\0',
    "infinity": b'{"parameters":{"a":-Infinity}}\0',
    "minus zero": b'{"parameters":{"a":-0}}\0',
    "a leading zero": b'{"parameters":{"a":01}}\0',
    "minus alone": b'{"parameters":{"a":-}}\0',
    "plus": b'{"parameters":{"a":+1}}\0',
    "past 2^53": b'{"parameters":{"a":9007199254740993}}\0',
    "past 2^64": b'{"parameters":{"a":18446744073709551617}}\0',
    "True": b'{"parameters":{"a":True}}\0',
    "single quotes": b"{'parameters':{}}\0",
    "a comment": b'{"parameters":{}/* */}\0',
    "a byte order mark": b'\xef\xbb\xbf{"parameters":{}}\0',
    "another key": b'{"parameters":{},"verdict":"allow"}\0',
    "no parameters": b'{"continues":false}\0',
    "parameters as a list": b'{"parameters":[]}\0',
    "parameters null": b'{"parameters":null}\0',
    "continues as a number": b'{"parameters":{"verdict":"allow"},"continues":0}\0',
    "continues null": b'{"parameters":{"verdict":"allow"},"continues":null}\0',
    "pending with an allow": b'{"parameters":{"pending":"x","verdict":"allow"},"continues":true}\0',
    "pending as a number": b'{"parameters":{"pending":1},"continues":true}\0',
    "pending with an error": b'{"parameters":{"pending":"x"},"continues":true,"error":"x"}\0',
    "two answers": b'{"parameters":{"verdict":"deny"}}\0{"parameters":{"verdict":"allow"}}\0',
    "an answer and a half": b'{"parameters":{"verdict":"deny"}}\0{"para',
    "another error": b'{"parameters":{"message":"x"},"error":"org.varlink.service.MethodNotFound"}\0',
    "an error without a name": b'{"parameters":{"message":"x"},"error":null}\0',
    "a refusal without words": b'{"parameters":{"code":"x"},"error":"io.jitsudo.Decide.Refused"}\0',
    "a refusal with a number": b'{"parameters":{"message":1},"error":"io.jitsudo.Decide.Refused"}\0',
    "17 levels": nested(17),
    "a thousand levels": nested(1000),
    "a hundred thousand levels": b"[" * 100_000 + b"\0",
}
