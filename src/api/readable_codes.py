"""Random codes that people read and type: 32 digits and letters that are not mixed up."""

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Douglas Crockford's base 32: without i, l, o and u."""

_BITS = 5
_GROUP = 4
_READ_AS = str.maketrans("ilo", "110", "- ")


def written(raw: bytes) -> str:
    """Bytes as groups of four characters; as many bits as make whole characters, from the front."""
    count = len(raw) * 8 // _BITS
    number = int.from_bytes(raw) >> (len(raw) * 8 - count * _BITS)
    text = "".join(
        ALPHABET[number >> (_BITS * place) & (len(ALPHABET) - 1)]
        for place in reversed(range(count))
    )
    return "-".join(text[at : at + _GROUP] for at in range(0, count, _GROUP))


def read(text: str) -> str:
    """What was typed, as one may type it: of any case, with or without hyphens, o for 0."""
    return text.lower().translate(_READ_AS)
