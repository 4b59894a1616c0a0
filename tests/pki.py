"""Certificate authorities and certificates, made with openssl for one test."""

import subprocess
from pathlib import Path

DAYS = "2"


class Authority:
    """A certificate authority; its certificate is `certificate`, in PEM form.

    home_made: without a key usage, as `openssl req -x509` leaves it if nobody asks for more.
    """

    def __init__(
        self, directory: Path, name: str = "authority", *, home_made: bool = False
    ) -> None:
        self._directory = directory
        self.certificate = directory / f"{name}.crt"
        self._key = directory / f"{name}.key"
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}", "-days", DAYS),
            *("-keyout", str(self._key), "-out", str(self.certificate)),
            *(() if home_made else ("-addext", "keyUsage=critical,keyCertSign,cRLSign")),
        )

    def issue(self, name: str, *sans: str) -> tuple[Path, Path]:
        """Make NAME.crt and NAME.key, for server and client; `sans` such as DNS:localhost."""
        made, key = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        request, extensions = made.with_suffix(".csr"), made.with_suffix(".ext")
        extensions.write_text(
            f"subjectAltName={','.join(sans)}\nextendedKeyUsage=serverAuth,clientAuth\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl(
            *("req", "-new", *_NEW_KEY, "-subj", f"/CN={name}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-days", DAYS, "-out", str(made)),
            *("-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial"),
            *("-extfile", str(extensions)),
        )
        return made, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
