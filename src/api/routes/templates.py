"""Routes of posting templates: define, use, retire."""

from api.command_routes import CommandRoute
from ledger_core.journal import JournalEntryPosted
from ledger_core.template import TemplateDefined, TemplateRetired
from ledger_core.templates import DefineTemplate, PostTemplate, RetireTemplate

COMMANDS = (
    CommandRoute(
        path="/v1/templates",
        command=DefineTemplate,
        event=TemplateDefined,
        summary="Define a posting template, or its next version",
        example={
            "name": "account-fee",
            "description": "Account fee with value added tax",
            "parameters": [
                {"name": "payer", "kind": "account"},
                {"name": "fee", "kind": "amount"},
            ],
            "amounts": {
                "tax": {
                    "type": "percent",
                    "percent": "19%",
                    "of": {"type": "parameter", "name": "fee"},
                    "rounding": "half_up",
                }
            },
            "postings": [
                {
                    "side": "debit",
                    "account_parameter": "payer",
                    "amount": {
                        "type": "sum",
                        "of": [
                            {"type": "parameter", "name": "fee"},
                            {"type": "named", "name": "tax"},
                        ],
                    },
                },
                {
                    "side": "credit",
                    "account_id": "fees",
                    "amount": {"type": "parameter", "name": "fee"},
                },
                {
                    "side": "credit",
                    "account_id": "tax-payable",
                    "amount": {"type": "named", "name": "tax"},
                },
            ],
        },
    ),
    CommandRoute(
        path="/v1/templates/{template}/entries",
        command=PostTemplate,
        event=JournalEntryPosted,
        path_field="template",
        summary="Book the entry that a template makes of accounts and figures",
        example={
            "currency": "EUR",
            "accounts": {"payer": "anna-current"},
            "amounts": {"fee": "500"},
            "description": "Account fee for May",
        },
    ),
    CommandRoute(
        path="/v1/templates/{template}/retire",
        command=RetireTemplate,
        event=TemplateRetired,
        path_field="template",
        summary="Let nobody use a template any more",
        example={"reason": "The fee was abolished"},
    ),
)
