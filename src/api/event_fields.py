"""What each field of an event means, for readers of an exported log: see ``event_schemas``.

A field means the same wherever it stands, but for the few that are told apart by their event. The
sources are the docstrings of the events; a test holds that no field is left without a meaning.
"""

from collections.abc import Mapping
from types import MappingProxyType

_LIMIT = "How far below zero the balance may go, in minor units; negative: how far above zero it"
_LIMIT += " must stay; null: without such a limit."
_CEILING = "The most that the balance may be, in minor units; null: without such a limit."
_SUBJECT = "The random id of the person's key in the key store; it says nothing about the person."
_REASON = "Why, in the words of whoever asked for it."
_SEEN = "The figures that were seen when the command was judged, as its caller was told them."
_CODE_OF_REFUSAL = "The stable code of the refusal."

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "above_minor": "Only commands that move or hold more than this need approval, in minor"
        " units of the currency; null: all of these types.",
        "account_id": "The account. Absent where it was opened: acc_ and the event's position.",
        "account_parameter": "The parameter that names the account.",
        "account_type": "The account's type in the chart of accounts; asset and expense accounts"
        " have their normal side on debit, the others on credit.",
        "actor": "On whose behalf the command runs.",
        "adjust": "What becomes of a due date on a Saturday or Sunday.",
        "amount": "An amount in minor units, as text of digits.",
        "amount_max": "By currency, the most that one command may move or hold, in minor units: in"
        " one that is not named, nothing; null: no bound.",
        "amount_minor": "The amount, in minor units of the currency; never negative.",
        "amounts": "Amounts that the template works out once, under a name.",
        "approvers": "The permissions of which each needs one person who approves.",
        "asked": "The command without its key, where the rest does not tell it.",
        "asked_effect": "The effect that the command named; null: every effect of the cause.",
        "business_date": "The day for which the order was run: the entry's value date.",
        "cause": "Why: a word under which blocks are placed and lifted.",
        "ceiling_minor": _CEILING,
        "channel": "How the money came in or went out, such as counter, atm or card.",
        "cleared": "The fields that were removed.",
        "closing_date": "The last day of the bank's statement.",
        "closing_minor": "Its closing balance in minor units; positive: in credit.",
        "code": "The caller's own code for what kind of business it is.",
        "command": "The command as plain values.",
        "command_position": "Where the event of the command stands that ran.",
        "commands": "The types of command that the policy is about.",
        "count": "How often it is due in all; null: without end.",
        "credit_account_id": "The account that will be credited.",
        "currency": "The ISO 4217 code of the currency, or the code of a registered unit.",
        "customer_id": "The customer. Absent where registered: cus_ and the event's position.",
        "debit_account_id": "The account that will be debited.",
        "description": "What it is for, in the words of whoever asked for it.",
        "due_at": "From when on it counts, however late it was recorded.",
        "due_date": "The day on which the occurrence was due.",
        "effect": "Which side of the account is blocked.",
        "effective_date": "The day (UTC) at whose beginning the limits change.",
        "enabled": "Whether it is in force.",
        "entry_count": "How many entries the bank's statement has.",
        "entry_id": "The caller's own id of the entry; null: jrn_ and the event's position.",
        "entry_position": "Where the entry stands that was booked; null: nothing was to be moved.",
        "expires_at": "When it ceases to hold; null: it does not expire.",
        "first_date": "The first day on which it is due.",
        "forced": "Whether limits were not enforced.",
        "freed_minor": "What ceased to be held without being captured, in minor units.",
        "from_date": "From which due date on it is different; null: the day of the recording.",
        "group_id": "The group of accounts. Absent where made: grp_ and the event's position.",
        "hold_id": "The hold. Absent where placed: hld_ and the event's position.",
        "interval": "Every how many units it is due.",
        "keeps_ceiling": "Whether the ceiling was not named and stays as it was.",
        "kind": "What kind of entry it is.",
        "last_date": "The last day on which it may be due; null: without end.",
        "late_posting": "What becomes of an entry that asks for a closed day; null: as before.",
        "less": "The amount that is taken off.",
        "limit_minor": _LIMIT,
        "maker": "The person who asked.",
        "max": "The most that it comes to, in minor units; null: no such bound.",
        "metadata": "Names and values of the caller's own.",
        "min": "The least that it comes to, in minor units; null: no such bound.",
        "multi_capture": "Whether what a capture leaves over stays held.",
        "name": "A name for people; never that of a person.",
        "of": "The amount, or amounts, from which it is worked out.",
        "on_original_date": "Whether the value date of the reversed entry was asked for.",
        "opening_date": "The first day of the bank's statement.",
        "opening_minor": "Its opening balance in minor units; positive: in credit.",
        "order_id": "The standing order. Absent where made: ord_ and the event's position.",
        "original_value_date": "The value date asked for, which lies in a closed period.",
        "parameters": "What is given when it is used, by name.",
        "percent": "The percentage, as an exact decimal.",
        "permissions": "Which of the needed permissions the person held.",
        "person": "Who it was: the person behind an API key, as the bank calls them.",
        "personal": "How fields of a profile are shown: clear, masked or hidden.",
        "personal_default": "How the fields are shown that are not named.",
        "policies": "The policies that demanded it.",
        "policy_id": "The policy.",
        "postings": "The legs: debits equal credits in every currency.",
        "public": "What of the profile identifies nobody, by field.",
        "rate": "The rate of the exchange, as an exact decimal.",
        "reason": _REASON,
        "reason_for": "The permissions for which a reason is asked.",
        "reference": "The caller's reference: once in a ledger.",
        "request_id": "The request. Absent where made: apr_ and the event's position.",
        "reverses": "The id of the entry that this one mirrors.",
        "role": "What the customer is to the account.",
        "rounding": "How the amount is rounded to minor units.",
        "rule": "The risk rule.",
        "scale": "How many decimals the unit has: minor units are its last.",
        "schedule": "On which days it is due.",
        "sealed": "Personal fields as ciphertext under the subject's key, by field.",
        "seen": _SEEN,
        "side": "The side of the account.",
        "statement_id": "The bank's id of its statement.",
        "step_up_for": "The permissions for which a fresh second factor is asked.",
        "subject": _SUBJECT,
        "template": "The posting template, with @ and its version where it was followed.",
        "through": "The last day that is closed; null: none is.",
        "type": "How the amount is worked out.",
        "unit": "What the interval counts.",
        "unrecorded": "Refusals of the same caller before this one that were not recorded.",
        "value_date": "The day from which the entry counts; null: the UTC day of its recording.",
        "version": "The version's number; the first is 1.",
    }
)

# Where a field means something else than elsewhere.
OF_TYPE: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("AccountOpened", "code"): "The account's code in the chart of accounts.",
        ("UnitRegistered", "code"): "The unit's code.",
        ("CommandRefused", "code"): _CODE_OF_REFUSAL,
        ("ApprovalFailed", "code"): _CODE_OF_REFUSAL,
        ("StandingOrderRunRefused", "code"): _CODE_OF_REFUSAL,
        ("HoldReleased", "cause"): "Why it holds no longer.",
        ("HoldReleased", "due_at"): "When it expired; null: it did not.",
        ("ApprovalRequested", "asked"): "The permissions that the maker asked for by themselves.",
        ("Parameter", "kind"): "What is given: an account or an amount.",
        ("Parameter", "name"): "The parameter's name.",
        ("ParameterAmount", "name"): "The parameter that gives the amount.",
        ("NamedAmount", "name"): "The name under which the template works the amount out.",
        ("TemplateDefined", "name"): "The template's name.",
        ("TemplateDefined", "parameters"): "What a caller gives when the template is used.",
        ("RoleSet", "description"): "What the role is for.",
        ("RoleSet", "name"): "The role's name.",
        ("RoleSet", "permissions"): "What the role grants: names, areas (area.*), or * for all.",
        ("RoleRetired", "name"): "The role's name.",
        ("TemplateLine", "amount"): "How the leg's amount is worked out.",
        ("RiskRuleSet", "parameters"): "The thresholds that differ from the defaults, by name.",
        ("GroupCreated", "side"): "The side on which the group's total is counted.",
        ("PercentAmount", "of"): "The amount of which it is a percentage.",
    }
)
