"""``ledger checkpoint``, ``ledger prove``, ``ledger keys signing``: what outsiders check with.

Imports are made inside the commands, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from api.cli_support import Common, Failed, answer, ledger_name, open_runtime

if TYPE_CHECKING:
    from api.notary import Signed
    from api.runtime import Runtime


def register(app: App, keys_app: App) -> None:
    """Add the commands."""
    app.command(checkpoint)
    app.command(prove)
    keys_app.command(signing)
    keys_app.command(rotate_signing, name="rotate-signing")


def checkpoint(
    *,
    size: int | None = None,
    log: Literal["events", "accesses"] = "events",
    common: Common | None = None,
) -> None:
    """Sign the head of the log, or its first SIZE entries, and print the checkpoint.

    A log that does not begin with what was signed before is not signed. Keep what is printed where
    nobody who runs the ledger can change it: with it, nothing before it can be changed unnoticed.

    Parameters
    ----------
    size: How many entries to sign; all, where it is left out.
    log: The log of events, or the log of who read what.
    """
    from api.notary import BeyondLogError, NotaryStoppedError
    from api.routes.checkpoints import answer_of

    if size is not None and size < 0:
        msg = "--size is a number of entries: 0 or more."
        raise Failed(msg)
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(ledger_name(common))
        new: list[Signed] = []
        runtime.notary.listen(new.append)
        try:
            signed = runtime.notary.at(ledger_id, log, size)
        except BeyondLogError as error:
            msg = f"--size: {error}."
            raise Failed(msg) from None
        except NotaryStoppedError as error:
            msg = f"Nothing was signed: {error}."
            raise Failed(msg) from None
        for item in new:
            _publish(runtime, item)
    answer(common or Common(), answer_of(signed), signed.note.rstrip("\n"))


def prove(
    position: Annotated[int, Parameter(allow_leading_hyphen=False)],
    /,
    *,
    common: Common | None = None,
) -> None:
    """Print the receipt of the event at POSITION: the event, and the proof that it is in the log.

    As text of c2sp.org/tlog-proof; with --json as the document that `ledger-verify` reads, too.
    """
    from api import receipts
    from api.notary import BeyondLogError, NotaryStoppedError
    from ledger_core.tiles import TreeDamagedError

    if position < 1:
        msg = "POSITION is the position of an event: 1 or more."
        raise Failed(msg)
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(ledger_name(common))
        try:
            signed = runtime.notary.covering(ledger_id, position)
            with runtime.connect("ledger_reader") as connection:
                receipt = receipts.receipt(connection, runtime.settings, position, signed)
        except BeyondLogError as error:
            msg = f"There is no event at that position: {error}."
            raise Failed(msg) from None
        except (NotaryStoppedError, TreeDamagedError) as error:
            msg = f"Nothing can be proven: {error}."
            raise Failed(msg) from None
    answer(common or Common(), receipt, receipts.text_of(receipt).rstrip("\n"))


def signing(*, common: Common | None = None) -> None:
    """The public keys of checkpoints, oldest first: the last two sign now.

    Give them to auditors by a way of their own, not together with what they are to check.
    """
    from api import signing_keys
    from api.notary import origin_of

    with open_runtime() as runtime:
        name = ledger_name(common)
        runtime.ledger_id(name)  # Refuses a ledger that does not exist.
        keys = signing_keys.load(runtime.settings)
        origin = origin_of(runtime.settings, name)
    lines = "\n".join(key.vkey for key in keys.public_keys(origin))
    answer(common or Common(), keys.public(origin), lines)


def rotate_signing(*, common: Common | None = None) -> None:
    """Sign with new keys from now on, for every ledger of this data folder.

    The old secret is destroyed; its public keys stay listed, so that what it signed is checked for
    ever. Tell the new ones to whoever checks.
    """
    from api import signing_keys
    from api.notary import origin_of

    with open_runtime() as runtime:
        name = ledger_name(common)
        runtime.ledger_id(name)  # Refuses a ledger that does not exist.
        keys = signing_keys.rotate(runtime.settings)
        origin = origin_of(runtime.settings, name)
    lines = "\n".join(key.vkey for key in keys.public_keys(origin)[-2:])
    answer(common or Common(), keys.public(origin), f"From now on sign:\n{lines}")


def _publish(runtime: Runtime, signed: Signed) -> None:
    """Publish a new checkpoint once, as a server does; what fails is told and is no failure."""
    from api import outlets
    from api.posting import PostError

    settings = runtime.settings.notary
    try:
        if settings.file is not None:
            outlets.file_sender(settings.file)(signed)
        if settings.url is not None:
            outlets.url_sender(settings.url)(signed)
    except (OSError, PostError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        print(f"ledger: the checkpoint was not published: {reason}", file=sys.stderr)
