"""Files of visits and reservations: what their columns mean, and the merge with what is known.

A row is recognised by its external id. Its guest must be known; its venue too, unless the
organization has none yet.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from regulars.customers.importing import cleaning, dates, registry
from regulars.customers.importing.claims import claim
from regulars.customers.importing.cleaning import CellError, clean_text, fold, text_of
from regulars.customers.importing.registry import Column, Context, Importer, Kind, Merged
from regulars.customers.importing.summary import ImportRefusedError, Reject
from regulars.hospitality import importing_sql as statements
from regulars.hospitality.models import ReservationState, Venue
from regulars.lib import sql

# A visit further ahead than this is a typing error, not a clock that runs fast.
FARTHEST = timedelta(days=2 * 366)
MOST_NEW_VENUES = 50
# A date alone means noon: the middle of its service day wherever that begins.
NOON = 12
STATUS_WORDS = {
    ReservationState.REQUESTED: "requested pending solicitada pendiente request waitlist en_espera",
    ReservationState.CONFIRMED: "confirmed confirmada confirmado booked ok accepted aceptada",
    ReservationState.CANCELLED: "cancelled canceled cancelada cancelado cancel_customer anulada",
    ReservationState.NO_SHOW: "no_show noshow no_presentado no_presentada no_se_presento",
    ReservationState.SEATED: "seated sentada sentado arrived arrival llegada in_house dessert",
    ReservationState.COMPLETED: "completed completada completado finished finalizada done",
}
STATUSES = {word: str(state) for state, words in STATUS_WORDS.items() for word in words.split()}

_CUSTOMER = Column(
    "customer_external_id",
    (
        "customer id",
        "guest id",
        "customer",
        "cliente",
        "id cliente",
        "cliente id",
        "código cliente",
        "nº cliente",
    ),
    required=True,
)
_PARTY_SIZE = Column(
    "party_size", ("covers", "guests", "pax", "people", "personas", "comensales", "cubiertos")
)
_VENUE = Column("venue", ("location", "restaurant", "local", "restaurante", "establecimiento", "centro"))
VISIT_COLUMNS = (
    Column(
        "external_id",
        ("id", "visit id", "ticket", "ticket id", "bill", "order id", "factura", "id visita", "nº ticket"),
        required=True,
    ),
    _CUSTOMER,
    Column(
        "visited_at",
        (
            "date",
            "visit date",
            "visited",
            "closed at",
            "fecha",
            "fecha visita",
            "fecha de visita",
            "fecha y hora",
        ),
        required=True,
        holds_dates=True,
    ),
    Column("amount", ("total", "spend", "price", "importe", "gasto", "precio")),
    Column("currency", ("moneda", "divisa")),
    _VENUE,
    _PARTY_SIZE,
)
RESERVATION_COLUMNS = (
    Column(
        "external_id",
        ("id", "reservation id", "booking id", "id reserva", "localizador", "nº reserva"),
        required=True,
    ),
    _CUSTOMER,
    Column(
        "starts_at",
        (
            "date",
            "reservation date",
            "start",
            "starts",
            "fecha",
            "fecha reserva",
            "fecha de reserva",
            "fecha y hora",
            "datetime",
        ),
        required=True,
        holds_dates=True,
    ),
    _PARTY_SIZE,
    Column("status", ("state", "estado", "situación")),
    _VENUE,
    Column("confirmed_at", ("confirmed", "fecha confirmación", "confirmada el"), holds_dates=True),
)


class _VenueRows(Importer):
    """What visits and reservations share: a guest, a venue, a moment."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.venues: dict[str, Venue] = {}
        self.known_names: list[str] = []

    def prepare(self, seen: Mapping[str, set[str]]) -> None:
        """Load the venues; make those the file names if the organization has none yet.

        All of them before the first row: an import that is cut off finds the same ones again.
        """
        venues = self._stored()
        if not venues:
            self._make(sorted({name for cell in seen["venue"] if (name := clean_text(cell))}))
            venues = self._stored()
        self.default = venues[0]
        self.known_names = [venue.name for venue in venues]
        for venue in venues:
            self.venues.setdefault(fold(venue.name), venue)
        for venue in venues:
            if venue.external_id:
                self.venues[fold(venue.external_id)] = venue

    def _stored(self) -> list[Venue]:
        return list(Venue.objects.filter(organization=self.context.organization).order_by("id"))

    def _make(self, names: list[str]) -> None:
        organization = self.context.organization
        if len(names) > MOST_NEW_VENUES or any(len(name) > 200 for name in names):
            raise ImportRefusedError(
                f"The column venue has {len(names)} or more different names: is it the right column?"
            )
        distinct = {fold(name): name for name in reversed(names)}
        for name in sorted(distinct.values()) or [organization.name]:
            Venue.objects.create(
                organization=organization,
                name=name,
                timezone=organization.timezone,
                currency=organization.currency,
            )

    def _venue(self, values: Mapping[str, str]) -> tuple[Venue, bool]:
        """The row's venue and whether the row itself names it."""
        name = clean_text(values.get("venue", ""))
        if not name:
            return self.default, False
        venue = self.venues.get(fold(name))
        if venue is None:
            known = ", ".join(self.known_names[:10])
            raise CellError("venue", f"“{name[:60]}” is not known; known venues: {known}")
        return venue, True

    def _moment(
        self, values: Mapping[str, str], column: str, venue: Venue, hour: int | None = NOON
    ) -> datetime:
        text = clean_text(values.get(column, ""))
        if not text:
            raise CellError(column, "is empty")
        year = self.context.now.year
        try:
            moment = dates.parse_moment(
                text, self.context.order, venue.timezone, this_year=year, default_hour=hour
            )
        except dates.DateError as error:
            raise CellError(column, str(error)) from None
        if moment > self.context.now + FARTHEST:
            raise CellError(column, "lies more than two years ahead")
        return moment

    @staticmethod
    def _needed(values: Mapping[str, str], column: str) -> str:
        text = text_of(values, column, 200)
        if text is None:
            raise CellError(column, "is empty")
        return text

    @staticmethod
    def _parsed(values: Mapping[str, str], column: str, parse: Any) -> Any:
        text = clean_text(values.get(column, ""))
        try:
            return parse(text) if text else None
        except ValueError as error:
            raise CellError(column, str(error)) from None

    def _merge(self, table: str, steps: tuple[str, ...]) -> Merged:
        rejected = claim(
            table, "s.external_id", "true", "external_id", "is on line {first} already, which went first"
        )
        parameters = {
            "organization": self.context.organization.pk,
            "now": self.context.now,
            "live": self.context.live,
        }
        sql.execute(statements.FIND_CUSTOMERS, parameters)
        rejected += [
            Reject(
                row["line"],
                "customer_external_id",
                f"“{row['customer_external_id'][:60]}” is no known guest; import the customers first",
            )
            for row in sql.fetch_rows(statements.REFUSE_STRANGERS)
        ]
        for statement in steps:
            sql.execute(statement, parameters)
        return Merged(rejected=rejected, **sql.fetch_rows(statements.COUNT)[0])


class VisitImporter(_VenueRows):
    """Cleans and merges the rows of a file of visits."""

    tables = ("visits",)
    answers = statements.ANSWERS
    staging = (
        ("external_id", "text"),
        ("customer_external_id", "text"),
        ("visited_at", "timestamptz"),
        ("amount", "numeric(12,2)"),
        ("currency", "text"),
        ("party_size", "smallint"),
        ("venue_id", "bigint"),
        ("venue_given", "boolean"),
        *statements.WORKING_COLUMNS,
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.future = 0

    def clean(self, values: Mapping[str, str]) -> tuple[Any, ...]:
        venue, given = self._venue(values)
        visited_at = self._moment(values, "visited_at", venue)
        amount, sign = self._parsed(values, "amount", cleaning.parse_amount) or (None, "")
        currency = self._parsed(values, "currency", cleaning.parse_currency) or sign
        row = (
            self._needed(values, "external_id"),
            self._needed(values, "customer_external_id"),
            visited_at,
            amount,
            # An amount needs a currency; nothing stated is the venue's.
            currency or (venue.currency if amount is not None else None),
            self._parsed(values, "party_size", cleaning.parse_party_size),
            venue.pk,
            given,
        )
        self.future += visited_at > self.context.now
        return row

    def merge(self, table: str) -> Merged:
        return self._merge(table, statements.VISIT_STEPS)

    def notes(self) -> list[str]:
        return [f"{self.future} visits lie in the future."] if self.future else []


class ReservationImporter(_VenueRows):
    """Cleans and merges the rows of a file of reservations."""

    tables = ("reservations",)
    answers = statements.ANSWERS
    staging = (
        ("external_id", "text"),
        ("customer_external_id", "text"),
        ("starts_at", "timestamptz"),
        ("party_size", "smallint"),
        ("status", "text"),
        ("confirmed_at", "timestamptz"),
        ("venue_id", "bigint"),
        ("venue_given", "boolean"),
        *statements.WORKING_COLUMNS,
    )

    def clean(self, values: Mapping[str, str]) -> tuple[Any, ...]:
        venue, given = self._venue(values)
        confirmed = clean_text(values.get("confirmed_at", ""))
        return (
            self._needed(values, "external_id"),
            self._needed(values, "customer_external_id"),
            self._moment(values, "starts_at", venue, hour=None),
            self._parsed(values, "party_size", cleaning.parse_party_size),
            self._parsed(values, "status", _status),
            self._moment(values, "confirmed_at", venue) if confirmed else None,
            venue.pk,
            given,
        )

    def merge(self, table: str) -> Merged:
        return self._merge(table, statements.RESERVATION_STEPS)


def _status(text: str) -> str:
    try:
        return STATUSES[fold(text)]
    except KeyError:
        known = ", ".join(ReservationState.values)
        raise ValueError(f"is not a status; known: {known}") from None


def register() -> None:
    """Make both kinds known to the import; called when the pack is loaded."""
    registry.register(Kind("visits", VISIT_COLUMNS, VisitImporter, observed=("venue",)))
    registry.register(Kind("reservations", RESERVATION_COLUMNS, ReservationImporter, observed=("venue",)))
