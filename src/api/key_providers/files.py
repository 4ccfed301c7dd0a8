"""Wrapping keys in a file: one a line in base64, the first of which wraps.

While a key is being changed, the new one stands beside it in a file of its own and is known, too.
"""

from pathlib import Path

from api.key_settings import decoded
from api.surroundings import SettingError


def new_file_of(file: Path) -> Path:
    """Where the key stands that is to take the place of the one in ``file``."""
    return file.with_name(f"{file.name}.new")


def read_keys(file: Path) -> tuple[bytes, ...]:
    """The keys of the file, and of the one beside it.

    Raises:
        SettingError: they cannot be read, or are none.
    """
    # The new one first: it may take the place of the other between the two.
    fresh = _keys_of(new_file_of(file))
    current = _keys_of(file)
    if not current:
        msg = f"{file} must hold 32 bytes in base64"
        raise SettingError(msg)
    return tuple(dict.fromkeys((*current, *fresh)))


def _keys_of(file: Path) -> tuple[bytes, ...]:
    """The keys of one file; none where there is no file.

    Raises:
        SettingError: it cannot be read, or holds something else.
    """
    try:
        return decoded(file.read_text(), str(file))
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        msg = f"cannot read the secret {file}: {why}"
        raise SettingError(msg) from None
