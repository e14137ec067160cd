"""A second address of a broker that asks for a password over an encrypted connection."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.kafka.broker import HOST, free_ports

USER, PASSWORD = "segments", "correct horse"
STORE_PASSWORD = "changeit"
MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


@dataclass(frozen=True)
class SecuredListener:
    """An address with TLS and passwords.

    Parameters
    ----------
    port
        Where it listens.
    store
        Key and certificate of the broker.
    ca_file
        Who signed it: itself.
    """

    port: int
    store: Path
    ca_file: Path

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def settings(self, plain_listeners: str) -> dict[str, str]:
        """Give the broker's settings, beside those of its other addresses."""
        secured = f"SECURED://{self.address}"
        return {
            "listeners": f"{plain_listeners},{secured}",
            "advertised.listeners": f"{plain_listeners.partition(',')[0]},{secured}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            # Whoever comes in the clear administers; what no rule speaks of is allowed to everybody.
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "true",
            "listener.name.secured.plain.sasl.jaas.config": f'{MODULE} required user_{USER}="{PASSWORD}";',
            "listener.name.secured.ssl.keystore.location": str(self.store),
            "listener.name.secured.ssl.keystore.type": "PKCS12",
            "listener.name.secured.ssl.keystore.password": STORE_PASSWORD,
        }


def new_listener(folder: Path) -> SecuredListener:
    """Make a key with its certificate, by the tool that comes with Java."""
    keytool = shutil.which("keytool")
    assert keytool is not None, "it comes with every Java"
    listener = SecuredListener(free_ports(1)[0], folder / "broker.p12", folder / "ca.pem")
    store = ["-keystore", str(listener.store), "-storepass", STORE_PASSWORD, "-alias", "broker"]
    make = ["-genkeypair", "-keyalg", "RSA", "-storetype", "PKCS12", "-dname", f"CN={HOST}", "-ext", f"san=ip:{HOST}"]
    subprocess.run([keytool, *make, *store], check=True, capture_output=True)
    subprocess.run([keytool, "-exportcert", "-rfc", "-file", listener.ca_file, *store], check=True, capture_output=True)
    return listener
