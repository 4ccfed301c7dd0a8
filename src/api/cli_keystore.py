"""``ledger keystore …``: the keys of persons.

Imports are made inside the commands, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

from cyclopts import App

from api.cli_support import Common, Failed, answer, open_runtime, progress_bar

keystore_app = App(name="keystore", help="The keys under which persons are sealed.")


@keystore_app.command
def destroy_erased(*, common: Common | None = None) -> None:
    """Destroy again the keys of everybody whom the log says was erased.

    For after the key store was restored from a copy that is older than an erasure.
    """
    from api import keystore_rotation

    common = common or Common()
    with open_runtime() as runtime:
        count = keystore_rotation.destroy_erased(runtime.database_url)
    text = f"{count} keys destroyed of persons who were erased before."
    answer(common, {"destroyed": count}, text)


@keystore_app.command
def adopt(*, common: Common | None = None) -> None:
    """Say that the server secret was replaced on purpose: servers with the new one may start.

    API keys and sessions of before are void; ledger keystore reindex makes the search anew.
    """
    from api import start_checks

    common = common or Common()
    with open_runtime() as runtime, runtime.connect("ledger_writer") as connection:
        is_new = start_checks.adopt(connection, runtime.settings.server_secret)
    text = "The database now belongs to this server secret." if is_new else "It does already."
    answer(common, {"adopted": is_new}, text)


@keystore_app.command
def rotate(*, common: Common | None = None) -> None:
    """Wrap every person's key by a new key-encryption key, and destroy the old one.

    Keys that were copied before (backups, write-ahead log, dead rows) then open no more, so that
    who was erased cannot come back by them. Servers may go on meanwhile. Keep a copy of the new
    file LEDGER_DATA_DIR/keys/key-encryption-key apart from the database's backups. With Vault, a
    new version of its key is made; the old ones are yours to destroy there.
    """
    from api import keystore_rotation

    common = common or Common()
    with open_runtime() as runtime, progress_bar(common, "keys") as progress:
        try:
            count = keystore_rotation.rotate(
                runtime.settings, runtime.database_url, runtime.now(), progress
            )
        except keystore_rotation.RotationRefused as refusal:
            raise Failed(str(refusal)) from None
    is_vault = runtime.settings.keys.provider == "vault"
    end = "destroy its older versions in Vault" if is_vault else "the old one is gone"
    text = f"{count} keys are wrapped by a new key-encryption key; {end}."
    answer(common, {"keys": count}, text)


@keystore_app.command
def rewrap(*, common: Common | None = None) -> None:
    """Wrap every person's key by the newest key-encryption key that there is; give up the others.

    For keys that somebody else changes: in LEDGER_KEY_ENCRYPTION_KEY (the new one in front of the
    old, with a comma between them), or in Vault. Servers may go on meanwhile, if they know both.
    """
    from api import keystore_rotation

    common = common or Common()
    with open_runtime() as runtime, progress_bar(common, "keys") as progress:
        count = keystore_rotation.rewrap(
            runtime.settings, runtime.database_url, runtime.now(), progress
        )
    text = f"{count} keys are wrapped by the newest key-encryption key; no other is needed."
    answer(common, {"keys": count}, text)
