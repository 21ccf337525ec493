"""An authority and certificates of its making, by the program `openssl`; and a server that shows one of them."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from support.tools import required


class Authority:
    """Signs certificates for names, that hold for as many days as asked (a negative number: it is over). Holds for `days` itself."""

    def __init__(self, folder: Path, name: str = "test authority", days: int = 3650) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self._key = folder / "ca.crt", folder / "ca.key"
        _openssl(
            *(
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                str(days),
                "-subj",
                f"/CN={name}",
            ),
            *("-keyout", str(self._key), "-out", str(self.certificate)),
        )

    def sign(self, name: str, address: str, days: int) -> tuple[Path, Path]:
        """A certificate for an IP address; returns its file and its key's."""
        certificate, key, request = (self._folder / f"{name}.{ending}" for ending in ("crt", "key", "csr"))
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:{address}\nbasicConstraints=CA:FALSE\n")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        dates = ("-days", str(days)) if days > 0 else ("-not_before", "20200101000000Z", "-not_after", "20200201000000Z")
        if days > 0:
            _openssl(
                "x509",
                "-req",
                "-in",
                str(request),
                "-CA",
                str(self.certificate),
                "-CAkey",
                str(self._key),
                *dates,
                "-extfile",
                str(extensions),
                "-out",
                str(certificate),
            )
        else:
            self._sign_in_the_past(request, extensions, certificate)
        return certificate, key

    def _sign_in_the_past(self, request: Path, extensions: Path, certificate: Path) -> None:
        """`openssl x509` knows no begin before now in the version of Debian 12; `openssl ca` does."""
        (self._folder / "index.txt").write_text("")
        configuration = self._folder / "ca.cnf"
        configuration.write_text(
            "[ca]\ndefault_ca=one\n[one]\n"
            f"database={self._folder / 'index.txt'}\nnew_certs_dir={self._folder}\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n"
            "[any]\ncommonName=supplied\n"
        )
        _openssl(
            *("ca", "-batch", "-notext", "-config", str(configuration), "-cert", str(self.certificate), "-keyfile", str(self._key)),
            *("-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-extfile", str(extensions)),
            *("-in", str(request), "-out", str(certificate)),
        )


def _openssl(*arguments: str) -> None:
    program = required("openssl", "openssl")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


class Listener:
    """Takes connections on 127.0.0.1, with TLS when it is given a certificate, and closes each; as a context manager."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _run(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            try:
                if self._context is None:
                    plain.recv(100)
                    plain.sendall(b"no TLS here\n")
                else:
                    plain = self._context.wrap_socket(plain, server_side=True)
            except OSError:
                pass  # the caller did not like what it saw
            finally:
                plain.close()
