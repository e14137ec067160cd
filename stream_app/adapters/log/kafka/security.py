"""How clients prove who they are and whether they encrypt, from the environment: passwords stand on no command line."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stream_app.domain.errors import SettingsError

PREFIX: Final = "STREAM_APP_KAFKA_"
PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True, repr=False)
class Security:
    """What clients of a cluster show and ask for.

    Parameters
    ----------
    protocol
        One of `PROTOCOLS`.
    mechanism, user, password
        With SASL.
    ca_file
        Certificates of those who may sign the brokers'; None: those of the system.
    certificate_file, key_file
        Of the client, where brokers ask for it.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    user: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def client_settings(self) -> dict[str, Any]:
        """Give the settings, which aiokafka and kafka-python name alike.

        Raises
        ------
        SettingsError
            When a certificate cannot be read.
        """
        if self.protocol == "PLAINTEXT":
            return {}
        settings: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            settings |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        if self.protocol.endswith("SSL"):
            settings["ssl_context"] = self._ssl_context()
        return settings

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            files = [str(file) for file in (self.ca_file, self.certificate_file, self.key_file) if file is not None]
            message = f"certificates {', '.join(files)} cannot be used: {error}; give PEM files that can be read"
            raise SettingsError(message, code="invalid_certificate") from error
        return context


def read_security(environment: Mapping[str, str]) -> Security:
    """Read the variables that begin with `STREAM_APP_KAFKA_`.

    Parameters
    ----------
    environment
        Names to values; empty values count as absent.

    Returns
    -------
    Security

    Raises
    ------
    SettingsError
        With all faults; no value of a password is told.

    Examples
    --------
    >>> read_security({}).protocol
    'PLAINTEXT'
    >>> read_security({"STREAM_APP_KAFKA_PROTOCOL": "SSL"}).client_settings()["security_protocol"]
    'SSL'
    """
    given = {
        name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX) and value
    }
    protocol, mechanism = given.get("PROTOCOL", "PLAINTEXT"), given.get("SASL_MECHANISM", "PLAIN")
    faults = []
    if protocol not in PROTOCOLS:
        faults.append(f"{PREFIX}PROTOCOL: {protocol!r}, allowed are {', '.join(PROTOCOLS)}")
    if mechanism not in MECHANISMS:
        faults.append(f"{PREFIX}SASL_MECHANISM: {mechanism!r}, allowed are {', '.join(MECHANISMS)}")
    if protocol.startswith("SASL"):
        faults += [f"{PREFIX}{name}: {protocol} needs it; set it" for name in ("USER", "PASSWORD") if name not in given]
    elif "USER" in given or "PASSWORD" in given:
        faults.append(f"{PREFIX}PROTOCOL: {protocol} sends no user and password; take SASL_SSL")
    if faults:
        message = "the security settings of Kafka in the environment cannot be used"
        raise SettingsError(message, code="invalid_kafka_security", faults=tuple(faults))
    paths = {name: Path(given[name]) if name in given else None for name in ("CA_FILE", "CERTIFICATE_FILE", "KEY_FILE")}
    return Security(protocol, mechanism, given.get("USER"), given.get("PASSWORD"), *paths.values())
