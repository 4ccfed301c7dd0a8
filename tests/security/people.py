"""The test subjects: people whose every personal field can be told from anything else."""

from types import MappingProxyType

PEOPLE = MappingProxyType(
    {
        "subject-1": {
            "name": "Wilhelmina Quastenflosser",
            "birth_date": "1957-11-23",
            "email": "wilhelmina.q@quastenflosser.example",
            "phone": "+49 4131 7708815",
            "address": "Ziegelkamp 117b, 21337 Krähenwinkel",
            "identity_number": "L9QX47TRK2",
            "tax_number": "47 036 892 615",
        },
        "subject-2": {
            "name": "Þorgerður Æsudóttir",
            "birth_date": "1988-02-29",
            "email": "thorgerdur@aesudottir.example",
            "phone": "+354 555 9176",
            "address": "Skúmaskot 9, 101 Reykjanesvík",
            "identity_number": "290288-7719",
            "tax_number": "IS-882917-7719",
        },
    }
)
"""By customer id, everything personal that a profile may have."""

VALUES = tuple(value for profile in PEOPLE.values() for value in profile.values())
"""What nobody may find in a log, an error, a metric or a dump."""
