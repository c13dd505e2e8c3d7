"""Reads a file with prices of one's own: ``sessionbat serve --prices FILE``.

``docs/prices.md`` describes the file. A mistake in it is an error, for a model without a price is
no mistake that anybody would see.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from sessionbat.errors import ConfigurationError
from sessionbat.server.prices.rates import UNITS, ModelPrices, Period, Rates

#: Longest file; a thousand models take 100 KB.
MAX_FILE_BYTES: Final = 1024 * 1024

_UNITS: Final = UNITS[:5]  # a price for each request has no place here
# No model costs a million dollars for a million tokens; a price in another unit might.
_MAX_PRICE: Final = 1e6
_EXAMPLE: Final = '[models."gpt-5.4-mini"] with input = 0.75 and output = 4.5'


def read_own_prices(path: Path) -> dict[str, ModelPrices]:
    """Read prices by ``model`` or ``provider/model``, in lower case.

    Raises:
        ConfigurationError: The file cannot be read, is no TOML, or has something else than prices.
    """
    given = _load(path)
    models = given.pop("models", None)
    if given:
        raise _bad(path, f"unknown entry {_short(next(iter(given)))}")
    if not isinstance(models, dict) or not models:
        raise _bad(path, "it has no models")
    own: dict[str, ModelPrices] = {}
    for name, prices in models.items():
        if name.lower() in own:
            raise _bad(path, f"model {_short(name)} is there twice; case makes no difference")
        own[name.lower()] = ModelPrices(((Period(), _rates(path, name, prices)),))
    return own


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise _bad(path, f"it is larger than {MAX_FILE_BYTES:,} bytes")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as exc:
        raise ConfigurationError(
            f"cannot read the prices {str(path)!r}: {exc.strerror}; name a file that can be read",
            slug="no-prices-file",
        ) from exc
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as exc:
        raise _bad(path, f"it is no TOML: {exc}") from exc


def _rates(path: Path, name: str, prices: Any) -> Rates:
    where = f"model {_short(name)}"
    if not isinstance(prices, dict):
        raise _bad(path, f"{where} is no table")
    for unit, price in prices.items():
        if isinstance(price, dict):
            raise _bad(path, f"{where} has a table {_short(unit)}; put names with a dot in quotes")
        if unit not in _UNITS:
            raise _bad(path, f"{where} has {_short(unit)}; prices are {', '.join(_UNITS)}")
        if (
            isinstance(price, bool)
            or not isinstance(price, int | float)
            or not 0 <= price <= _MAX_PRICE
        ):
            raise _bad(
                path,
                f"{where}, {unit}: {_short(price)} is no number of dollars from 0 to a million",
            )
    missing = [unit for unit in ("input", "output") if unit not in prices]
    if missing:
        raise _bad(path, f"{where} has no price for {missing[0]}; give 0 where it is free")
    return Rates({unit: float(price) for unit, price in prices.items()})


def _short(value: Any) -> str:
    return repr(value)[:100]


def _bad(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the prices {str(path)!r} cannot be used: {problem}; write dollars for a million tokens,"
        f" for example {_EXAMPLE}",
        slug="bad-prices",
    )
