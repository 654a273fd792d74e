"""Files of customers: what their columns mean, and the merge with the guests who are known."""

from collections.abc import Mapping
from typing import Any

from regulars.customers import addresses, consent_sql
from regulars.customers.importing import cleaning, customer_sql, dates, registry
from regulars.customers.importing.claims import claim
from regulars.customers.importing.cleaning import CellError, clean_text, text_of
from regulars.customers.importing.registry import Column, Context, Importer, Kind, Merged
from regulars.customers.importing.summary import Reject
from regulars.customers.portfolios import LONGEST, portfolio_of, portfolios_of
from regulars.lib import clock, sql

CONSENT_COLUMNS = ("email_consent", "sms_consent", "whatsapp_consent")
# By what a guest is known: external id, else e-mail, else phone, else user id (see `customer_sql`).
PASSES = (1, 2, 3, 4)
# One day of a year is 0.27 % of all birthdays; above this share 1 January stands for “unknown”.
SUSPICIOUS_SHARE, SUSPICIOUS_COUNT = 0.02, 10

COLUMNS = (
    Column(
        "external_id",
        (
            "id",
            "customer id",
            "guest id",
            "código",
            "codigo cliente",
            "id cliente",
            "cliente id",
            "customer number",
            "nº cliente",
            "numero cliente",
        ),
    ),
    Column(
        "first_name", ("name", "first", "given name", "forename", "nombre", "nombre de pila", "firstname")
    ),
    Column("last_name", ("surname", "last", "family name", "apellido", "apellidos", "lastname")),
    Column(
        "email",
        ("e-mail", "mail", "email address", "correo", "correo electrónico", "dirección de correo", "emails"),
    ),
    Column(
        "phone",
        (
            "telephone",
            "mobile",
            "mobile phone",
            "phone number",
            "cell",
            "teléfono",
            "teléfono móvil",
            "móvil",
            "celular",
            "tel",
            "número de teléfono",
        ),
    ),
    # The guest's business-scoped user id: who has a WhatsApp user name may hide the number.
    Column("whatsapp_user_id", ("whatsapp id", "bsuid", "business scoped user id", "id de whatsapp")),
    # Which business it is of, where there are accounts of several.
    Column("whatsapp_portfolio", ("portfolio", "portfolio id", "whatsapp portfolio id", "portafolio")),
    Column(
        "birthday",
        (
            "birth date",
            "date of birth",
            "dob",
            "birthdate",
            "fecha de nacimiento",
            "nacimiento",
            "cumpleaños",
            "fecha nacimiento",
        ),
        holds_dates=True,
    ),
    Column("language", ("lang", "locale", "idioma", "lengua")),
    Column("tier", ("level", "status level", "loyalty tier", "nivel", "categoría")),
    Column("tags", ("labels", "segments", "etiquetas")),
    Column(
        "email_consent",
        (
            "e-mail consent",
            "email opt in",
            "email marketing",
            "consentimiento email",
            "consentimiento correo",
            "acepta email",
            "acepta correo",
        ),
    ),
    Column("sms_consent", ("sms opt in", "sms marketing", "consentimiento sms", "acepta sms")),
    Column(
        "whatsapp_consent",
        ("whatsapp opt in", "whatsapp marketing", "consentimiento whatsapp", "acepta whatsapp"),
    ),
    Column(
        "consent_source",
        ("consent origin", "origen consentimiento", "origen del consentimiento", "fuente consentimiento"),
    ),
    Column(
        "consent_at",
        (
            "consent date",
            "consented at",
            "fecha consentimiento",
            "fecha del consentimiento",
            "fecha de consentimiento",
        ),
        holds_dates=True,
    ),
)


class CustomerImporter(Importer):
    """Cleans and merges the rows of a file of customers."""

    tables = ("customers", "addresses", "consents")
    answers = customer_sql.ANSWERS
    staging = (
        ("key", "text"),
        ("pass", "smallint"),
        ("external_id", "text"),
        ("first_name", "text"),
        ("last_name", "text"),
        ("email", "text"),
        ("email_fingerprint", "bytea"),
        ("phone", "text"),
        ("phone_fingerprint", "bytea"),
        ("phone_bad_reason", "text"),
        ("whatsapp_user_id", "text"),
        ("whatsapp_portfolio", "text"),
        ("user_id_fingerprint", "bytea"),
        ("birth_month", "smallint"),
        ("birth_day", "smallint"),
        ("birth_year", "smallint"),
        ("language", "text"),
        ("tier", "text"),
        ("tags", "text[]"),
        ("email_consent", "boolean"),
        ("sms_consent", "boolean"),
        ("whatsapp_consent", "boolean"),
        ("consent_source", "text"),
        ("consent_at", "timestamptz"),
        ("customer_id", "bigint"),
        ("candidates", "integer NOT NULL DEFAULT 0"),
        ("is_new", "boolean NOT NULL DEFAULT false"),
        ("changed", "boolean NOT NULL DEFAULT false"),
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        organization = context.organization
        self.today = clock.local_date(context.now, organization.timezone)
        self.portfolios = portfolios_of(organization)
        self.birthdays = self.january_first = self.sentinels = 0
        self.unclear_consents = self.kept_withdrawals = self.landlines = 0

    def clean(self, values: Mapping[str, str]) -> tuple[Any, ...]:
        external_id = text_of(values, "external_id", 200)
        email, email_mark = self._email(values)
        phone, phone_mark, phone_bad = self._phone(values)
        user_id, portfolio, user_id_mark = self._user_id(values)
        identities = (external_id, email, phone, f"{portfolio}:{user_id}" if user_id else None)
        number = next((place for place, text in enumerate(identities, 1) if text), None)
        if number is None:
            raise CellError(
                "external_id",
                "is empty, and there is no e-mail, phone or WhatsApp user id to know the guest by",
            )
        return (
            f"{'xepu'[number - 1]}:{identities[number - 1]}",
            number,
            external_id,
            text_of(values, "first_name", 200),
            text_of(values, "last_name", 200),
            email,
            email_mark,
            phone,
            phone_mark,
            phone_bad,
            user_id,
            portfolio,
            user_id_mark,
            *self._birthday(values),
            self._parsed(values, "language", cleaning.parse_language),
            text_of(values, "tier", 64),
            self._parsed(values, "tags", cleaning.parse_tags),
            *(self._consent(values, column) for column in CONSENT_COLUMNS),
            text_of(values, "consent_source", 200) or self.context.source[:200],
            self._consent_at(values),
        )

    def _email(self, values: Mapping[str, str]) -> tuple[str | None, bytes | None]:
        email = self._parsed(values, "email", addresses.normalise_email)
        return email, addresses.fingerprint(self.context.organization, email) if email else None

    def _phone(self, values: Mapping[str, str]) -> tuple[str | None, bytes | None, str]:
        country = self.context.organization.country
        phone = self._parsed(values, "phone", lambda text: addresses.normalise_phone(text, country))
        if not phone:
            return None, None, ""
        bad_reason = addresses.bad_reason_of("sms", phone)
        self.landlines += bool(bad_reason)
        return phone, addresses.fingerprint(self.context.organization, phone), bad_reason

    def _user_id(self, values: Mapping[str, str]) -> tuple[str | None, str | None, bytes | None]:
        """The user id with its business; a business without one says nothing."""
        user_id = self._parsed(values, "whatsapp_user_id", addresses.normalise_user_id)
        wanted = text_of(values, "whatsapp_portfolio", LONGEST)
        if not user_id:
            return None, None, None
        try:
            portfolio = portfolio_of(wanted, self.portfolios)
        except addresses.AddressError as error:
            raise CellError("whatsapp_portfolio" if wanted else "whatsapp_user_id", str(error)) from None
        return user_id, portfolio, addresses.fingerprint(self.context.organization, user_id)

    def _birthday(self, values: Mapping[str, str]) -> tuple[int | None, int | None, int | None]:
        text = clean_text(values.get("birthday", ""))
        if not text:
            return None, None, None
        try:
            birthday = dates.parse_birthday(text, self.context.order, self.today)
        except dates.DateError as error:
            raise CellError("birthday", str(error)) from None
        if birthday is None:
            self.sentinels += 1
            return None, None, None
        self.birthdays += 1
        self.january_first += (birthday.month, birthday.day) == (1, 1)
        return birthday.month, birthday.day, birthday.year

    def _consent(self, values: Mapping[str, str], column: str) -> bool | None:
        text = clean_text(values.get(column, ""))[:50]
        said = cleaning.parse_yes_no(text)
        self.unclear_consents += bool(text) and said is None
        return said

    def _consent_at(self, values: Mapping[str, str]) -> Any:
        text = clean_text(values.get("consent_at", ""))
        if not text:
            return self.context.now
        try:
            at = dates.parse_moment(
                text,
                self.context.order,
                self.context.organization.timezone,
                this_year=self.today.year,
                default_hour=0,
            )
        except dates.DateError as error:
            raise CellError("consent_at", str(error)) from None
        if at > self.context.now:
            raise CellError("consent_at", "lies in the future")
        return at

    @staticmethod
    def _parsed(values: Mapping[str, str], column: str, parse: Any) -> Any:
        text = clean_text(values.get(column, ""))
        try:
            return parse(text) if text else None
        except ValueError as error:
            raise CellError(column, str(error)) from None

    def merge(self, table: str) -> Merged:
        rejected = claim(
            table, "s.key", "true", "external_id", "is the same guest as line {first}, which went first"
        )
        for number in PASSES:
            rejected += self._merge_pass(table, number)
        self._merge_consents()
        counts = sql.fetch_rows(customer_sql.COUNT)[0]
        return Merged(rejected=rejected, **counts)

    def _parameters(self, number: int = 0) -> dict[str, Any]:
        return {
            "organization": self.context.organization.pk,
            "now": self.context.now,
            "pass": number,
        }

    def _merge_pass(self, table: str, number: int) -> list[Reject]:
        parameters = self._parameters(number)
        if not sql.fetch_rows(f"SELECT FROM {table} WHERE pass = %(pass)s LIMIT 1", parameters):
            return []
        for statement in (
            *((customer_sql.FIND_BY_EXTERNAL_ID,) if number == 1 else ()),
            *((customer_sql.BY_EMAIL,) if number < 3 else ()),
            *((customer_sql.BY_PHONE,) if number < 4 else ()),
            customer_sql.BY_USER_ID,
        ):
            sql.execute(statement, parameters)
        refused = [
            Reject(row["line"], row["column"], "belongs to several guests; add their external_id")
            for row in sql.fetch_rows(customer_sql.REFUSE_SEVERAL, parameters)
        ]
        sql.execute(customer_sql.FORGET_SEVERAL, parameters)
        return refused + self._write_pass(table, number, parameters)

    @staticmethod
    def _write_pass(table: str, number: int, parameters: dict[str, Any]) -> list[Reject]:
        def claim_guests() -> list[Reject]:
            return claim(
                table,
                "'c:' || s.customer_id",
                f"s.pass = {number} AND s.customer_id IS NOT NULL",
                "external_id",
                "is the same guest as line {first}: same e-mail, phone or user id, no other external_id",
            )

        refused = claim_guests()
        for statement in (
            customer_sql.LOCK,
            customer_sql.NUMBER_NEW,
            customer_sql.INSERT_NEW,
            customer_sql.ADOPT_MEANWHILE,
            customer_sql.RECORD_TIERS,
            customer_sql.UPDATE_KNOWN,
            customer_sql.REPLACE_ADDRESSES,
            customer_sql.ADD_ADDRESSES,
        ):
            sql.execute(statement, parameters)
        return refused + claim_guests()

    def _merge_consents(self) -> None:
        """Append the statements that are news. Locks are held since the passes."""
        parameters = self._parameters()
        kept = sql.fetch_rows(customer_sql.COUNT_KEPT_WITHDRAWALS)
        self.kept_withdrawals += kept[0]["kept"]
        rows = consent_sql.append(customer_sql.STATEMENTS, parameters | {"recorded_at": self.context.now})
        changed = {"customers": sorted({row["customer_id"] for row in rows})}
        sql.execute(customer_sql.NOTE_CONSENT_CHANGES, changed)

    def notes(self) -> list[str]:
        share = self.january_first / self.birthdays if self.birthdays else 0
        suspicious = share > SUSPICIOUS_SHARE and self.january_first >= SUSPICIOUS_COUNT
        told = (
            (
                self.sentinels,
                (
                    "{} birthdays stand for “not known” and were left out"
                    " (such as 1900-01-01, 1970-01-01, 0, or a date in the future)."
                ),
            ),
            (
                self.january_first * suspicious,
                (
                    "{} guests have their birthday on 1 January, more than chance allows:"
                    " the source may write it for “not known”."
                ),
            ),
            (self.unclear_consents, "{} consent cells are neither yes nor no and count as no statement."),
            (
                self.kept_withdrawals,
                (
                    "{} consents stay withdrawn although the file says yes:"
                    " an import never gives back what a guest has withdrawn."
                ),
            ),
            (self.landlines, "{} phone numbers are landlines, which take no SMS or WhatsApp."),
        )
        return [words.format(count) for count, words in told if count]


KIND = Kind(
    "customers",
    COLUMNS,
    CustomerImporter,
    any_of=("external_id", "email", "phone", "whatsapp_user_id"),
)
registry.register(KIND)
