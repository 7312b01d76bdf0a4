"""Codes of an authenticator app (RFC 6238), computed in a way of the tests' own."""

import base64
import hmac
import struct
import time


def code_at(secret, step):
    """RFC 4226 with the step as its counter."""
    key = base64.b32decode(secret)
    mac = hmac.digest(key, struct.pack(">Q", step), "sha1")
    at = mac[-1] & 15
    return f"{(struct.unpack('>I', mac[at:at + 4])[0] & 0x7FFFFFFF) % 1000000:06d}"


def now_step():
    return int(time.time()) // 30
