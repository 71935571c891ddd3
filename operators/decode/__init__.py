"""decode: one NATS message in, its events out, or a dead letter with the reason.

At the edge be liberal: a message is one JSON object, a JSON array, or one object a line. Unknown
keys of a log go to meta; domain and service missing in the body are taken from the subject.
"""

from operators.decode.decoder import DecodeLimits, Decoder, Refused
from operators.decode.operator import DecodeOut, decode
from operators.decode.payload import Unreadable

__all__ = ["DecodeLimits", "DecodeOut", "Decoder", "Refused", "Unreadable", "decode"]
