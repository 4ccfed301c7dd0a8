"""The names of the roles that exist without anybody defining them; see ``default_roles``."""

from ledger_core.access_role import DEFAULT_NAMES

ROLES: tuple[str, ...] = DEFAULT_NAMES
