"""From which age a guest may agree to marketing alone, by country. Pure.

The age at which a child consents to services of the information society alone (GDPR, article 8, as the
member states have set it; for Spain also LOPDGDD 7; COPPA in the United States). Below it nobody is
advertised to without a guardian's consent (E33). Where nothing is known here, the highest of them.
"""

from datetime import date

CONSENT_AGES = {
    **dict.fromkeys(("BE", "DK", "EE", "FI", "IS", "LV", "MT", "NO", "PT", "SE", "GB", "US"), 13),
    **dict.fromkeys(("AT", "BG", "CY", "ES", "IT", "LT"), 14),
    **dict.fromkeys(("CZ", "FR", "GR", "SI"), 15),
    **dict.fromkeys(("DE", "HR", "HU", "IE", "LI", "LU", "NL", "PL", "RO", "SK"), 16),
}
_OTHERS = 16
# Later than anybody was born.
NEVER = 99_99_99_99


def consent_age(country: str) -> int:
    """Years of age from which a guest there agrees alone; `country` is ISO 3166."""
    return CONSENT_AGES.get(country.upper(), _OTHERS)


def born_until(today: date, age: int) -> int:
    """The last birthday, as the number yyyymmdd, of those who are `age` or older `today`.

    Born on 29 February one comes of age on the 1st of March of a common year.
    """
    return (today.year - age) * 10_000 + today.month * 100 + today.day
