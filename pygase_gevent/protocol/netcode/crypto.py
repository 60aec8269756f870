"""The ciphers of netcode 1.02; the only importer of the crypto libraries.

Packets and challenges travel under ChaCha20-Poly1305 (RFC 8439), connect tokens under
XChaCha20-Poly1305. From Python `cryptography` is several times faster per call and does the former; it
lacks the latter, which PyNaCl does. From C (`_sealing.c`) the libsodium inside PyNaCl is faster.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl.bindings import (
    crypto_aead,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

KEY_BYTES: Final = 32
MAC_BYTES: Final = 16
TOKEN_NONCE_BYTES: Final = 24

VERSION_INFO: Final = b"NETCODE 1.02\0"

_pack_nonce = Struct("<4xQ").pack
"""The 96-bit nonce: four zero bytes, then the 64-bit sequence, little-endian."""
_pack_u64 = Struct("<Q").pack


def aead_addresses() -> tuple[int, int]:
    """Where PyNaCl's libsodium has `crypto_aead_chacha20poly1305_ietf_encrypt` and `..._decrypt`, for C.

    Raises:
        ImportError: this PyNaCl has them not.
    """
    names = ("crypto_aead_chacha20poly1305_ietf_encrypt", "crypto_aead_chacha20poly1305_ietf_decrypt")
    try:
        ffi, lib = crypto_aead.ffi, crypto_aead.lib  # type: ignore[attr-defined]
        seal, unseal = (int(ffi.cast("uintptr_t", ffi.addressof(lib, name))) for name in names)
    except AttributeError as error:
        raise ImportError(f"PyNaCl's libsodium lacks ChaCha20-Poly1305: {error}") from error
    return seal, unseal


class PacketCipher:
    """Seals and opens the packets of one direction of one connection.

    Args:
        key: 32 bytes.
        associated_data: `packet_associated_data(protocol_id)`, shared by all ciphers of a protocol.
    """

    __slots__ = ("_associated_data", "_decrypt", "_encrypt")

    def __init__(self, key: bytes, associated_data: tuple[bytes, ...]) -> None:
        aead = ChaCha20Poly1305(key)
        self._encrypt = aead.encrypt
        self._decrypt = aead.decrypt
        self._associated_data = associated_data

    def seal(self, prefix: int, sequence: int, body: bytes) -> bytes:
        return self._encrypt(_pack_nonce(sequence), body, self._associated_data[prefix])

    def open(self, prefix: int, sequence: int, sealed: bytes) -> bytes | None:
        """The body, or None where it was not sealed with this key, sequence and prefix."""
        try:
            return self._decrypt(_pack_nonce(sequence), sealed, self._associated_data[prefix])
        except InvalidTag:
            return None


class ChallengeCipher:
    """Seals and opens the challenge tokens of one run of a server, which alone has the key."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)

    def seal(self, sequence: int, plain: bytes) -> bytes:
        return self._aead.encrypt(_pack_nonce(sequence), plain, None)

    def open(self, sequence: int, sealed: bytes) -> bytes | None:
        try:
            return self._aead.decrypt(_pack_nonce(sequence), sealed, None)
        except InvalidTag:
            return None


def packet_associated_data(protocol_id: int) -> tuple[bytes, ...]:
    """What a packet's tag covers beside its body, by the packet's prefix byte."""
    head = VERSION_INFO + _pack_u64(protocol_id)
    return tuple(head + bytes((prefix,)) for prefix in range(256))


def seal_token(plain: bytes, *, protocol_id: int, expire_timestamp: int, nonce: bytes, key: bytes) -> bytes:
    """Encrypts the private part of a connect token."""
    associated_data = VERSION_INFO + _pack_u64(protocol_id) + _pack_u64(expire_timestamp)
    return crypto_aead_xchacha20poly1305_ietf_encrypt(plain, associated_data, nonce, key)


def open_token(
    sealed: bytes, *, protocol_id: int, expire_timestamp: int, nonce: bytes, key: bytes
) -> bytes | None:
    """The private part of a connect token, or None where it was not sealed with this key and data."""
    associated_data = VERSION_INFO + _pack_u64(protocol_id) + _pack_u64(expire_timestamp)
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, associated_data, nonce, key)
    except CryptoError:
        return None
