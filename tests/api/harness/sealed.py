"""Sealed texts as they were before the vault (v1), made and read in a way of the tests' own."""

import base64
import hashlib
import hmac
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def derive(key, label):
    """HKDF-SHA256 (RFC 5869) of text or bytes: no salt, one block."""
    key = key.encode() if isinstance(key, str) else key
    prk = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(prk, label.encode() + b"\1", "sha256")


def v1_text(master, table, column, row_id, plain):
    """A secret of no team, sealed under a master key (its 64 hex digits)."""
    root = derive(master, "tessera sealed secrets")
    key_id = derive(master, "tessera sealed secrets: key id")[:4].hex()
    nonce = os.urandom(12)
    place = f"{table}|{column}||{row_id}".encode()
    raw = nonce + AESGCM(derive(root, f"seal {table}.{column}")).encrypt(nonce, plain, place)
    return f"v1.{key_id}." + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def v1_recovery_hash(master, user_id, code):
    """What was stored of a recovery code."""
    key = derive(derive(master, "tessera sealed secrets"), "recovery codes")
    return hmac.new(key, f"{user_id}|{code.replace('-', '')}".encode(), hashlib.sha256).hexdigest()


# --- the vault's form, read past the server ------------------------------------------------------


def opened(key, place, body):
    """What base64url of nonce, ciphertext and tag holds."""
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    return AESGCM(key).decrypt(raw[:12], raw[12:], place.encode())


def master_id(master):
    return derive(master, "tessera vault: key id")[:8].hex()


def unwrapped(master, row):
    """The key of a row (team_id, purpose, version, id, wrapped) of vault_key."""
    team_id, purpose, version, key_id, wrapped = row
    place = f"vault_key|{purpose}|{version}|{key_id}|{team_id}"
    return opened(derive(master, "tessera vault: key of keys"), place, wrapped)


def forms(raw):
    """The ways in which bytes are commonly written."""
    base = base64.b64encode(raw).rstrip(b"=")
    url = base.replace(b"+", b"-").replace(b"/", b"_")
    return {raw, raw.hex().encode(), raw.hex().upper().encode(), base, url,
            base64.b32encode(raw).rstrip(b"=")}
