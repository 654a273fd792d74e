"""Names of people who do not exist."""

FIRST = (
    *("Marta", "Lucía", "Carmen", "Pilar", "Elena", "Nuria", "Inés", "Sofía", "Aitana", "Rocío"),
    *("Javier", "Diego", "Álvaro", "Pablo", "Iker", "Raúl", "Andrés", "Óscar", "Hugo", "Mateo"),
    *("Emma", "Olivia", "Grace", "Chloe", "Hannah", "James", "Oliver", "Daniel", "Thomas", "Noah"),
    *("Giulia", "Camille", "Léa", "Anna", "Ingrid", "Luca", "Marco", "Jonas", "Piotr", "Tiago"),
)
LAST = (
    *("García", "Soler", "Navarro", "Iglesias", "Romero", "Vidal", "Castro", "Ibáñez", "Peña"),
    *("Molina", "Ortega", "Serrano", "Blanco", "Núñez", "Cano", "Prieto", "Gil", "Lozano"),
    *("Walker", "Hughes", "Bennett", "Foster", "Murphy", "Palmer", "Reid", "Shaw", "Turner"),
    *("Rossi", "Moreau", "Lindqvist", "Kowalski", "Ferreira", "Weber", "Jansen", "Costa", "Dubois"),
)
# Numbers 555-0100 to 555-0199 of every area code are kept free for fiction in North America.
AREA_CODES = (
    *(201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 224),
    *(225, 228, 229, 231, 234, 239, 240, 248, 251, 252, 253, 254, 256, 260, 262, 267, 269, 270),
)
# Domains kept for examples (RFC 2606).
DOMAINS = ("example.com", "example.org", "example.net")


def phone(number: int) -> str:
    """The fictional phone number with this ordinal, in E.164."""
    return f"+1{AREA_CODES[number // 100]}5550{100 + number % 100}"


def email(number: int) -> str:
    """The fictional e-mail address with this ordinal."""
    return f"guest{number + 1:04d}@{DOMAINS[number % len(DOMAINS)]}"
