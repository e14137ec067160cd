"""How an owner's policy file and the default policy make one complete document."""

from __future__ import annotations

from collections.abc import Mapping

from stream_app.domain.policy_reading import join_path

# Names in these are the owner's own choice: what one says of them makes no sense mixed with the default's.
_STANDING_ALONE = ("axes", "treatments", "money.rates")
# The keys of these have rules as values, and a rule is one whole.
_TABLES_OF_WHOLES = ("events.types",)


def complete(document: Mapping[str, object], default: Mapping[str, object]) -> dict[str, object]:
    """Fill what is missing in a document from the default.

    Axes, treatments and rates, if the document has them, replace the default's wholly; a rule of an event type replaces
    the default's of that type wholly. Faulty parts stay as they are, for `parse_policy` to name. The default's part is
    not taken where it would be wrong: treatments when the tiers are others, rates when the reporting currency is.

    Parameters
    ----------
    document
        An owner's policy as a TOML parser gives it.
    default
        A complete policy.

    Returns
    -------
    dict[str, object]
        The owner's keys first, in their order.
    """
    effective = _fill(document, default, "")
    if "treatments" not in document and _tiers_of(document) != _tiers_of(default) and "axes" in document:
        del effective["treatments"]
    money, own_money, default_money = effective.get("money"), document.get("money"), default.get("money")
    if isinstance(money, dict) and isinstance(own_money, Mapping) and isinstance(default_money, Mapping):
        is_other_currency = money.get("reporting_currency") != default_money.get("reporting_currency")
        if is_other_currency and "rates" not in own_money:
            money["rates"] = {}
    return effective


def _tiers_of(document: Mapping[str, object]) -> list[object]:
    """Tiers of each axis in order: what treatments are written for."""
    axes = document.get("axes")
    tables = list(axes.values()) if isinstance(axes, Mapping) else []
    return [table.get("tiers") if isinstance(table, Mapping) else None for table in tables]


def _fill(values: Mapping[str, object], default: Mapping[str, object], path: str) -> dict[str, object]:
    filled = dict(values)
    for key, default_value in default.items():
        place = join_path(path, key)
        own_value = values.get(key)
        if key not in values:
            filled[key] = default_value
        elif place in _STANDING_ALONE or path in _TABLES_OF_WHOLES:
            continue
        elif isinstance(own_value, Mapping) and isinstance(default_value, Mapping):
            filled[key] = _fill(own_value, default_value, place)
    return filled


def parts_from_default(document: Mapping[str, object], default: Mapping[str, object]) -> tuple[str, ...]:
    """Say which parts a document leaves to the default.

    Parameters
    ----------
    document
        An owner's policy as a TOML parser gives it.
    default
        A complete policy.

    Returns
    -------
    tuple[str, ...]
        TOML paths in the default's order: a whole section where nothing of it is given, else its keys; the table of
        event types once, if any is taken.
    """
    return tuple(_missing(document, default, ""))


def _missing(values: Mapping[str, object], default: Mapping[str, object], path: str) -> list[str]:
    if path in _TABLES_OF_WHOLES:
        return [path] if any(key not in values for key in default) else []
    parts = []
    for key, default_value in default.items():
        place = join_path(path, key)
        own_value = values.get(key)
        if key not in values:
            parts.append(place)
        elif place not in _STANDING_ALONE and isinstance(own_value, Mapping) and isinstance(default_value, Mapping):
            parts.extend(_missing(own_value, default_value, place))
    return parts
