"""Certificates for the fault server: a root of its own, and leaves that are right or wrong."""

import datetime as dt
import ssl
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """Signs leaves for 127.0.0.1 into `folder`; `root` is the file that a client may trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Root of the tests")
        made = self._builder(self._name, self._key, days=1).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.root = folder / "root.pem"
        self.root.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))

    def context(self, *, days: int = 1, signs_itself: bool = False, address: str = "127.0.0.1"):
        """A server's context with a leaf that ends in `days` (negative: ended)."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._builder(_name(address), key, days=days, issuer=_name(address) if signs_itself else None)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        leaf = leaf.add_extension(names, critical=False)
        made = leaf.sign(key if signs_itself else self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = self._folder / f"leaf{made.serial_number}.pem"
        path.write_bytes(private + _pem(made))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(self, name, key, *, days: int, issuer=None) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer or self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=10))
            .not_valid_after(now + dt.timedelta(days=days))
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
