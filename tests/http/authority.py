"""What checkpoints are sent to in tests: an address that listens, and a time-stamping authority.

The authority is OpenSSL's, with certificates that are made for the run.
"""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = Callable[[bytes], tuple[int, bytes]]

_CONFIG = """
[req]
distinguished_name = name
[name]
[tsa]
default_tsa = here
[here]
dir = {folder}
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
[extensions]
extendedKeyUsage = critical,timeStamping
[authority]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
"""


@contextmanager
def listening(answer: Answer) -> Iterator[str]:
    """The address of a server on this machine that answers every POST by the function."""

    class Handler(BaseHTTPRequestHandler):
        """Answers POSTs, and logs nothing."""

        def do_POST(self) -> None:
            """Answer with what the function says of the body."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content = answer(body)
            self.send_response(status)
            if status in range(300, 400):
                self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/checkpoints"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Authority:
    """A time-stamping authority: its root certificate, and its answers."""

    def __init__(self, folder: Path) -> None:
        """Make its keys and certificates."""
        self.folder = folder
        self.root = folder / "root.pem"
        folder.mkdir()
        self._config = folder / "tsa.cnf"
        self._config.write_text(_CONFIG.format(folder=folder))
        (folder / "serial").write_text("01\n")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self._openssl(
            "req", "-x509", *key, "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=Root",
            "-days", "3650", "-config", str(self._config), "-extensions", "authority",
        )  # fmt: skip
        self._openssl(
            "req", *key, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Clock",
            "-config", str(self._config),
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key",
            "-CAcreateserial", "-out", "tsa.pem", "-days", "3650",
            "-extfile", str(self._config), "-extensions", "extensions",
        )  # fmt: skip

    def answer(self, query: bytes) -> tuple[int, bytes]:
        """The status and the response to a query."""
        (self.folder / "query").write_bytes(query)
        self._openssl(
            "ts", "-reply", "-queryfile", "query", "-out", "reply", "-config", str(self._config)
        )
        return 200, (self.folder / "reply").read_bytes()

    def accepts(self, response: bytes, data: bytes) -> bool:
        """Whether OpenSSL finds that the response is of the data and signed by the authority."""
        (self.folder / "data").write_bytes(data)
        (self.folder / "response").write_bytes(response)
        done = subprocess.run(
            [
                "openssl", "ts", "-verify", "-data", "data", "-in", "response",
                "-CAfile", "root.pem", "-untrusted", "tsa.pem",
            ],
            cwd=self.folder, capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode == 0

    def _openssl(self, *arguments: str) -> None:
        """Run OpenSSL in the folder."""
        subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, check=True)
