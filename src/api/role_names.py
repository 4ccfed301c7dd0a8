"""The roles that an API key may have. What each may do is said in ``roles``."""

from typing import Literal

Role = Literal["reader", "teller", "auditor", "admin"]

ROLES: tuple[Role, ...] = ("reader", "teller", "auditor", "admin")
