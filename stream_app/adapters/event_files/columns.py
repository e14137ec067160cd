"""Which column of a file holds which field of an event."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream_app.domain.errors import SettingsError
from stream_app.domain.policy import Policy

REQUIRED_FIELDS = ("customer_id", "occurred_at")
SHOWN_COLUMNS_MAX = 40
"""How many column names a message lists."""

_SHOWN_CHARACTERS_MAX = 80

_ID_WORDS = ("id", "no", "nr", "number", "key", "code")


def _with_id_words(*stems: str) -> tuple[str, ...]:
    return tuple(stem + word for stem in stems for word in ("", *_ID_WORDS))


def _pairs(stems: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(stem + word for stem in stems for word in words)


_SALE_WORDS = ("invoice", "order", "purchase", "transaction", "sale", "sales")
_TIMES = ("ts", "timestamp", "time", "date", "datetime", "occurred", "happenedat", "orderedat", "purchasedat")
_EVENT_TIMES = _pairs((*_SALE_WORDS, "event", "visit", "orderpurchase"), ("date", "time", "datetime", "timestamp"))
_AMOUNTS = ("revenue", "total", "value", "sales", "grossamount", "amountpaid", "spend", "spent", "turnover")
_SALE_AMOUNTS = _pairs(
    (*_SALE_WORDS, "line", "payment", "basket", "total"), ("amount", "total", "value", "price", "revenue")
)
_PEOPLE = ("customer", "client", "user", "member", "account", "buyer", "shopper", "cust", "person", "contact")

COLUMN_NAMES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "customer_id": (
        ("customerid",),
        _with_id_words(*_PEOPLE),
        (
            "customeruniqueid",
            "uid",
            "visitorid",
            "householdid",
            "householdkey",
            "subscriberid",
            "anonymousid",
            "cardid",
        ),
    ),
    "occurred_at": (
        ("occurredat",),
        (*_TIMES, *_EVENT_TIMES),
        ("createdat", "createdate", "creationdate", "created", "day", "paidat", "processedat", "loggedat"),
        ("receivedat", "sentat", "originaltimestamp", "updatedat"),
    ),
    "event_id": (("eventid",), ("messageid", "eventuuid", "eventkey", "insertid"), ("uuid", "id")),
    "type": (
        ("type",),
        ("event", "eventtype", "eventname", "action", "activity", "activitytype", "behavior", "behaviour"),
        ("transactiontype", "kind", "behaviortype"),
    ),
    "amount": (
        ("amount",),
        (*_AMOUNTS, *_SALE_AMOUNTS),
        ("price", "sum", "netamount", "net", "gross", "paid", "cost", "charge", "monetaryvalue", "monetary"),
    ),
    "currency": (("currency",), ("currencycode", "isocurrency", "currencyiso", "cur", "ccy")),
    "order_id": (("orderid",), _with_id_words("order", "invoice", "transaction", "basket", "receipt", "checkout")),
    "satisfaction": (
        ("satisfaction",),
        ("rating", "csat", "satisfactionscore", "reviewscore", "stars", "starrating", "csatscore", "npsscore"),
        ("score", "nps"),
    ),
}
"""Field to the names that its column is known by, without case, blanks and punctuation; better names first."""

_QUANTITY_NAMES = frozenset({"quantity", "qty", "units", "count", "pieces"})
_UNIT_PRICE_NAMES = frozenset({"price", "cost", "charge"})
_PUNCTUATION = re.compile(r"[\s_\-./:#()\[\]]+")


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """The columns of one file.

    Parameters
    ----------
    indices
        Field to the index of its column; fields without a column are missing.
    """

    indices: Mapping[str, int]


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Hold the fields of a mapping to those that exist.

    Raises
    ------
    SettingsError
        Code `invalid_mapping`.
    """
    unknown = sorted(set(mapping) - set(COLUMN_NAMES))
    if unknown:
        message = (
            f"--map: unknown field {', '.join(unknown)}; the fields are {', '.join(COLUMN_NAMES)}: "
            "write for example --map customer_id=YOUR_COLUMN"
        )
        raise SettingsError(message, code="invalid_mapping")


def choose_columns(file_name: str, columns: Sequence[str], mapping: Mapping[str, str]) -> ColumnChoice:
    """Find the column of each field: the mapped one, else the one with a well-known name.

    Parameters
    ----------
    file_name
        For messages.
    columns
        Column names of the file.
    mapping
        Field to column name, without regard to case unless two columns differ in case only; an empty name: none.

    Returns
    -------
    ColumnChoice

    Raises
    ------
    SettingsError
        Code `unknown_columns`, with every fault: a mapped column that does not exist, a field for which several
        columns could be meant, or a required field without a column.
    """
    faults: list[str] = []
    indices: dict[str, int] = {}
    for field, name in mapping.items():
        if name:
            found = [i for i, column in enumerate(columns) if column == name]
            found = found or [i for i, column in enumerate(columns) if column.strip().lower() == name.strip().lower()]
            if len(found) == 1:
                indices[field] = found[0]
            else:
                fault = "does not exist" if not found else f"exists {len(found)} times"
                faults.append(f"--map {field}={name}: the column {fault}")
    for field in COLUMN_NAMES:
        if field not in mapping:
            candidates = _candidates(field, columns, taken=set(indices.values()))
            if len(candidates) == 1:
                indices[field] = candidates[0]
            elif candidates:
                names = [_shown(columns[i]) for i in candidates]
                choices = " or ".join(f"--map {field}={name}" for name in names)
                spare = "" if field in REQUIRED_FIELDS else f" (or --map {field}= for none)"
                faults.append(f"{field} could be column {' or '.join(names)}; write {choices}{spare}")
    faults += [
        f"{field}: no column is known by a name for it; write --map {field}=COLUMN"
        for field in REQUIRED_FIELDS
        if field not in indices and not any(fault.startswith((field, f"--map {field}=")) for fault in faults)
    ]
    if faults:
        raise _columns_error(file_name, columns, faults)
    return ColumnChoice(indices)


def require_amount(file_name: str, columns: Sequence[str], choice: ColumnChoice, *, is_needed: bool) -> None:
    """Refuse a file of purchases that has no amounts.

    Raises
    ------
    SettingsError
        Code `unknown_columns`.
    """
    if is_needed and "amount" not in choice.indices:
        plain = {_plain(column) for column in columns}
        hint = ""
        if plain & _QUANTITY_NAMES:
            hint = " (a price beside a quantity is for one piece: add a column that holds their product)"
        fault = (
            f"amount: no column is known by a name for it{hint}; write --map amount=COLUMN, "
            "or give the event types a fixed_value in the policy"
        )
        raise _columns_error(file_name, columns, [fault])


def expects_money(policy: Policy, event_types: set[str]) -> bool:
    """Tell whether one of these event types needs an amount."""
    rules = [policy.event_rules[name] for name in event_types if name in policy.event_rules]
    return any(rule.fixed_value is None and rule.amount_path is not None for rule in rules)


def _candidates(field: str, columns: Sequence[str], taken: set[int]) -> list[int]:
    plain = [_plain(column) for column in columns]
    for names in COLUMN_NAMES[field]:
        found = [i for i, name in enumerate(plain) if name in names and i not in taken]
        if field == "amount" and set(plain) & _QUANTITY_NAMES:
            found = [i for i in found if plain[i] not in _UNIT_PRICE_NAMES]
        if found:
            return found
    return []


def _plain(column: str) -> str:
    # Tracking tools put an event's own fields into an object of this name.
    return _PUNCTUATION.sub("", column.strip().lower().removeprefix("properties."))


def _shown(column: str) -> str:
    """Write a column name for a message of one line."""
    text = column[:_SHOWN_CHARACTERS_MAX]
    return (text if text.isprintable() else ascii(text)) or "(no name)"


def _columns_error(file_name: str, columns: Sequence[str], faults: list[str]) -> SettingsError:
    names = ", ".join(_shown(column) for column in columns[:SHOWN_COLUMNS_MAX])
    more = f" and {len(columns) - SHOWN_COLUMNS_MAX} more" if len(columns) > SHOWN_COLUMNS_MAX else ""
    found = f"columns found: {names}{more}"
    if len(faults) == 1:
        return SettingsError(f"{file_name}: {faults[0]}; {found}", code="unknown_columns")
    message = f"{file_name}: {len(faults)} fields have no clear column; {found}"
    return SettingsError(message, code="unknown_columns", faults=tuple(faults))
