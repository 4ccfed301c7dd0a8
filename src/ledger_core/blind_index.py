"""Blind indexes: find a customer by a personal field that is stored only as ciphertext.

A value leaves a token behind: HMAC-SHA-256 (RFC 2104) of it, under a key of the ledger, the field
and the form, which is derived (HKDF, RFC 5869) from a secret that is not in this database. Equal
values have equal tokens, so they can be found; without the secret a token says nothing of its
value. The form ``exact`` is the text as it was given, ``normal`` what it comes to once case,
accents, punctuation and spelling are left aside. Tokens stand in the key store, never in an event,
and go with the person. Knows no events and no profiles beyond their fields.
"""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger_core.log import Connection

TOKEN_BYTES = 32
_PURPOSE = b"ledger blind index 1"

Form = Literal["exact", "normal"]
FORMS: tuple[Form, ...] = ("exact", "normal")

# Letters that Unicode does not take apart into a plain one and a mark.
_PLAIN_LETTERS = str.maketrans(
    {
        "ø": "o",
        "đ": "d",
        "ł": "l",
        "ħ": "h",
        "\u0131": "i",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
        "ð": "d",
    }
)
_DATES = (
    re.compile(r"(?P<year>\d{4}) (?P<month>\d{1,2}) (?P<day>\d{1,2})", re.ASCII),
    re.compile(r"(?P<day>\d{1,2}) (?P<month>\d{1,2}) (?P<year>\d{4})", re.ASCII),
    re.compile(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})", re.ASCII),
)
_ABROAD = re.compile("^(00)+")


class Token(msgspec.Struct, frozen=True, order=True):
    """What is stored of one field of one customer, in one form."""

    customer_id: str
    field: str
    form: Form
    token: bytes


class ProfileChange(msgspec.Struct, frozen=True):
    """What became of a customer's personal fields: their new values, ``None`` where removed.

    ``is_erased``: whatever there was of the customer is gone.
    """

    customer_id: str
    fields: Mapping[str, str | None] = MappingProxyType({})
    is_erased: bool = False


class BlindIndex:
    """Makes tokens and keeps them; all its statements run in the caller's transaction."""

    def __init__(self, secret: bytes) -> None:
        """Derive keys from ``secret`` as they are needed; ``key_id`` tells secrets apart."""
        self._secret = secret
        self._keys: dict[tuple[int, str, Form], bytes] = {}
        self.key_id = self._derived("id").hex()[:16]

    def token(self, ledger_id: int, field: str, form: Form, text: str) -> bytes | None:
        """The token of a value; ``None`` where nothing of it is left to be found by."""
        value = text if form == "exact" else normal_form(field, text)
        if not value:
            return None
        name = (ledger_id, field, form)
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = self._derived(f"{ledger_id}/{field}/{form}")
        return hmac.digest(key, value.encode(), hashlib.sha256)

    def tokens(self, ledger_id: int, customer_id: str, fields: Mapping[str, str]) -> set[Token]:
        """Every token of a customer's personal fields."""
        return {
            Token(customer_id, field, form, token)
            for field, text in fields.items()
            for form in FORMS
            if (token := self.token(ledger_id, field, form, text)) is not None
        }

    def record(
        self, connection: Connection, ledger_id: int, changes: Iterable[ProfileChange]
    ) -> None:
        """Have the index follow what became of profiles, in order.

        The transaction must have the ledger's lock: the last one to change a profile decides.
        """
        erased: dict[str, None] = {}
        fields: dict[tuple[str, str], str | None] = {}
        for change in changes:
            if change.is_erased:
                erased[change.customer_id] = None
            for field, text in change.fields.items():
                fields[change.customer_id, field] = text
        if fields:
            self._clear(connection, ledger_id, fields)
            found = [
                token
                for (customer_id, field), text in fields.items()
                if text is not None and customer_id not in erased
                for token in sorted(self.tokens(ledger_id, customer_id, {field: text}))
            ]
            self.add(connection, ledger_id, found)
        if erased:
            connection.execute(
                "DELETE FROM keystore.blind_indexes WHERE ledger_id = %s AND customer_id = ANY(%s)",
                (ledger_id, list(erased)),
            )

    def add(self, connection: Connection, ledger_id: int, tokens: Iterable[Token]) -> None:
        """Store tokens that are not there."""
        found = list(tokens)
        if not found:
            return
        connection.execute(
            "INSERT INTO keystore.blind_indexes"
            " (ledger_id, token, customer_id, field, form, key_id)"
            " SELECT %s, t.token, t.customer_id, t.field, t.form, %s"
            " FROM unnest(%s::bytea[], %s::text[], %s::text[], %s::text[])"
            " AS t (token, customer_id, field, form)",
            (
                ledger_id,
                self.key_id,
                [item.token for item in found],
                [item.customer_id for item in found],
                [item.field for item in found],
                [item.form for item in found],
            ),
        )

    @staticmethod
    def remove(connection: Connection, ledger_id: int, tokens: Iterable[Token]) -> None:
        """Delete tokens."""
        found = list(tokens)
        if not found:
            return
        connection.execute(
            "DELETE FROM keystore.blind_indexes b"
            " USING unnest(%s::bytea[], %s::text[]) AS t (token, customer_id)"
            " WHERE b.ledger_id = %s AND b.token = t.token AND b.customer_id = t.customer_id",
            ([item.token for item in found], [item.customer_id for item in found], ledger_id),
        )

    @staticmethod
    def stored(connection: Connection, ledger_id: int, customer_ids: list[str]) -> set[Token]:
        """Every token that is stored of the customers, whatever secret it was made with."""
        rows = connection.execute(
            "SELECT customer_id, field, form, token FROM keystore.blind_indexes"
            " WHERE ledger_id = %s AND customer_id = ANY(%s)",
            (ledger_id, customer_ids),
        )
        return {Token(row[0], row[1], row[2], bytes(row[3])) for row in rows}

    def find(
        self,
        connection: Connection,
        ledger_id: int,
        form: Form,
        fields: Mapping[str, str],
        limit: int,
    ) -> list[str]:
        """The customers with all of these values, by customer id, at most ``limit``."""
        tokens = {
            self.token(ledger_id, field, form, text) for field, text in sorted(fields.items())
        }
        if not tokens or None in tokens:
            return []
        rows = connection.execute(
            "SELECT customer_id FROM keystore.blind_indexes"
            " WHERE ledger_id = %s AND token = ANY(%s)"
            " GROUP BY customer_id HAVING count(*) = %s ORDER BY customer_id LIMIT %s",
            (ledger_id, list(tokens), len(tokens), limit),
        )
        return [row[0] for row in rows]

    @staticmethod
    def forget_erased(connection: Connection) -> None:
        """Delete the tokens of everybody whom the log says was erased, in every ledger."""
        connection.execute(
            "DELETE FROM keystore.blind_indexes b USING ledger.events e"
            " WHERE e.ledger_id = b.ledger_id AND e.type = 'CustomerErased'"
            " AND e.data->>'customer_id' = b.customer_id"
        )

    def _clear(
        self,
        connection: Connection,
        ledger_id: int,
        fields: Iterable[tuple[str, str]],
    ) -> None:
        """Delete the tokens of fields that were given or removed anew."""
        pairs = list(fields)
        connection.execute(
            "DELETE FROM keystore.blind_indexes b"
            " USING unnest(%s::text[], %s::text[]) AS f (customer_id, field)"
            " WHERE b.ledger_id = %s AND b.customer_id = f.customer_id AND b.field = f.field",
            ([item[0] for item in pairs], [item[1] for item in pairs], ledger_id),
        )

    def _derived(self, name: str) -> bytes:
        """The key of that name."""
        info = _PURPOSE + b"/" + name.encode()
        return HKDF(SHA256(), TOKEN_BYTES, salt=None, info=info).derive(self._secret)


def normal_form(field: str, text: str) -> str:
    """What two spellings of one value have in common; empty where nothing is left."""
    return _NORMAL_FORMS[field](text)


def matches(field: str, form: Form, text: str, asked: str) -> bool:
    """Whether a value is the one that was asked for."""
    if form == "exact":
        return text == asked
    return normal_form(field, text) == normal_form(field, asked)


def _folded(text: str) -> str:
    """Without case, marks and compatibility forms (``É`` is ``e``, ``²`` is ``2``)."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return plain.casefold().translate(_PLAIN_LETTERS)


def _words(text: str) -> list[str]:
    """The words of a text, and none of what stands between them; an apostrophe parts no word."""
    joined = _folded(text).replace("'", "").replace("\u2019", "")
    return "".join(letter if _is_of_word(letter) else " " for letter in joined).split()


def _is_of_word(letter: str) -> bool:
    """Whether a letter, a digit, or a vowel's sign of a script that writes it as a mark."""
    return letter.isalnum() or unicodedata.category(letter).startswith("M")


def _name(text: str) -> str:
    """The words in alphabetical order: ``Weber, Anna-Maria`` is ``anna maria weber``."""
    return " ".join(sorted(_words(text)))


def _address(text: str) -> str:
    """The words as they come."""
    return " ".join(_words(text))


def _email(text: str) -> str:
    """Without case: no provider in use tells addresses apart by it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(unicodedata.normalize("NFKC", folded).split())


def _phone(text: str) -> str:
    """The digits, without what is dialled to call abroad."""
    found = text.replace("(0)", "")
    digits = "".join(str(unicodedata.digit(letter)) for letter in found if letter.isdigit())
    return _ABROAD.sub("", digits)


def _birth_date(text: str) -> str:
    """The day as ISO 8601 writes it, from year, month, day or day, month, year; else the words."""
    words = " ".join(_words(text))
    found = next((match for form in _DATES if (match := form.fullmatch(words))), None)
    if found is None:
        return words
    return f"{found['year']}-{int(found['month']):02}-{int(found['day']):02}"


def _number(text: str) -> str:
    """Letters and digits alone."""
    return "".join(_words(text))


_NORMAL_FORMS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "name": _name,
        "birth_date": _birth_date,
        "email": _email,
        "phone": _phone,
        "address": _address,
        "identity_number": _number,
        "tax_number": _number,
    }
)
