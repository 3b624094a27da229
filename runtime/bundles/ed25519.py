"""Ed25519 signatures checked in plain Python (RFC 8032, section 5.1).

Key, message and signature are public, so the time that this takes tells nobody a secret. Nothing is
signed here.
"""

from __future__ import annotations

import hashlib

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_1 = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""X, Y, Z, T of a point x = X / Z, y = Y / Z, x y = T / Z (section 5.1.4)."""

_NEUTRAL: _Point = (0, 1, 1, 0)
_KEY_SIZE, _SIGNATURE_SIZE = 32, 64


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of a public key signed a message.

    Strict, so that nothing can be changed about a signature and no key vouches for two messages by
    itself: S is below the group's order, points are written in their one canonical way, the
    equation holds without the cofactor, and the key lies in the group of prime order.

    Args:
        key: 32 bytes.
        message: any bytes.
        signature: 64 bytes, R and S.
    """
    if len(key) != _KEY_SIZE or len(signature) != _SIGNATURE_SIZE:
        return False
    point = _decode(key)
    if point is None or key == _ONE or _encode(_times(_ORDER, point)) != _ONE:
        return False
    written, scalar = signature[:32], int.from_bytes(signature[32:], "little")
    if scalar >= _ORDER:
        return False
    digest = hashlib.sha512(written + key + message).digest()
    factor = int.from_bytes(digest, "little") % _ORDER
    found = _add(_times(scalar, _BASE), _times(_ORDER - factor, point))
    return _encode(found) == written


def _decode(data: bytes) -> _Point | None:
    """A point from its 32 bytes; None where no point is written like that (section 5.1.3)."""
    number = int.from_bytes(data, "little")
    y, odd = number & (2**255 - 1), number >> 255
    if y >= _P:
        return None
    top, bottom = y * y - 1, _D * y * y + 1
    x = top * pow(bottom, 3, _P) * pow(top * pow(bottom, 7, _P), (_P - 5) // 8, _P) % _P
    if (bottom * x * x + top) % _P == 0:
        x = x * _SQRT_MINUS_1 % _P
    if (bottom * x * x - top) % _P != 0 or (x == 0 and odd):
        return None
    if x & 1 != odd:
        x = _P - x
    return x, y, 1, x * y % _P


def _encode(point: _Point) -> bytes:
    X, Y, Z, _ = point
    inverse = pow(Z, -1, _P)
    return (Y * inverse % _P | (X * inverse % _P & 1) << 255).to_bytes(32, "little")


def _add(one: _Point, other: _Point) -> _Point:
    """Complete: it doubles too (section 5.1.4)."""
    (X1, Y1, Z1, T1), (X2, Y2, Z2, T2) = one, other
    A, B = (Y1 - X1) * (Y2 - X2) % _P, (Y1 + X1) * (Y2 + X2) % _P
    C, D = 2 * T1 * T2 * _D % _P, 2 * Z1 * Z2 % _P
    E, F, G, H = B - A, D - C, D + C, B + A
    return E * F % _P, G * H % _P, F * G % _P, E * H % _P


def _times(scalar: int, point: _Point) -> _Point:
    found = _NEUTRAL
    while scalar:
        if scalar & 1:
            found = _add(found, point)
        point, scalar = _add(point, point), scalar >> 1
    return found


def _base() -> _Point:
    """The generator, y = 4/5 and x even."""
    found = _decode((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert found is not None
    return found


_ONE = _encode(_NEUTRAL)
_BASE = _base()
